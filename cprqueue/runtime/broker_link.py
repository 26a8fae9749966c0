"""How every process reaches the broker: options, limits on waits, and certificates.

One place for Celery, Flower and our own short connections: what one of them reads in another way
is a broker that ``check`` reaches and a worker does not.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kombu import Exchange, Queue
from kombu.connection import Connection

from cprqueue import config, log
from cprqueue.runtime import amqp_transport
from cprqueue.settings import broker_address

CONNECT_SECONDS = 3
ANSWER_SECONDS = 10
QUICK_SECONDS = 3
"""For who asks once and may be told that there is no answer."""

_PASSWORD = re.compile(r"://[^/@\s]*:([^@/;\s]+)@")


def tls(address: broker_address.Address) -> dict[str, Any] | None:
    """Return what is verified, by the names that redis, Flower and our amqps know; None: no TLS.

    The authorities are those that the URL names (a file or a directory), or REQUESTS_CA_BUNDLE,
    or the system's, which SSL_CERT_FILE replaces.
    """
    if not address.encrypted:
        return None
    found: dict[str, Any] = dict(address.options)
    needed = found.get("ssl_cert_reqs", "required")
    found["ssl_cert_reqs"] = broker_address.REQUIREMENTS[needed]
    by_name = found.get("ssl_check_hostname", "true") == "true"
    found["ssl_check_hostname"] = by_name and found["ssl_cert_reqs"] != ssl.CERT_NONE
    authorities = found.pop("ssl_ca_certs", "") or config.authorities()
    if authorities:
        found["ssl_ca_path" if Path(authorities).is_dir() else "ssl_ca_certs"] = authorities
    return found


def transport_options(address: broker_address.Address, *, seconds: float = 0) -> dict[str, Any]:
    """Return kombu's options: the longest wait for an answer is ``seconds``, or the usual one."""
    wait = seconds or ANSWER_SECONDS
    if address.amqp:
        return {"read_timeout": wait, "write_timeout": wait}
    limits = {"socket_timeout": wait, "socket_connect_timeout": min(wait, CONNECT_SECONDS)}
    if address.scheme == "sentinel":
        return {**limits, "sentinel_kwargs": limits, **address.options}
    return limits


def connection(url: str, seconds: float = QUICK_SECONDS) -> Connection:
    """Describe a short connection to the broker at ``url`` (as in CELERY_BROKER_URL).

    Nothing is sent yet. No wait on it takes longer than ``seconds``.
    """
    amqp_transport.install()
    address = broker_address.read(url)
    return Connection(
        address.url,
        ssl=tls(address) or False,
        connect_timeout=seconds,
        transport_options=transport_options(address, seconds=seconds),
    )


def task_queues(names: Iterable[str]) -> list[Queue]:
    """Return the queues of these names as every process declares them."""
    return [Queue(name, Exchange(name), routing_key=name) for name in names]


def reason(error: BaseException, url: str) -> str:
    """Return why the broker could not be used: one line, in the library's words, no password."""
    cause = error.__cause__ or error
    text = log.without_password((str(cause).splitlines() or [""])[0].strip(" ."))[:300]
    for secret in _PASSWORD.findall(url):
        for spelled in (secret, unquote(secret)):
            text = text.replace(spelled, "***")
    return text or type(cause).__name__


def cure(told: str, url: str) -> str:
    """Return what to do about a ``reason``."""
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return (
            "name its authority in CELERY_BROKER_URL (?ssl_ca_certs=FILE) or REQUESTS_CA_BUNDLE, "
            "and the host as its certificate does"
        )
    if os.strerror(24) in told:
        return "let this user open more files (`ulimit -n`)"
    if url.startswith(broker_address.ENCRYPTED) and ("time" in told.lower() or "SSL" in told):
        return "start it, or correct CELERY_BROKER_URL: is this its port for TLS?"
    return "start it, or correct CELERY_BROKER_URL"
