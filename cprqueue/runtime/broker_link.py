"""How every process reaches the broker: options, limits on waits, and certificates.

One place for Celery, Flower and our own short connections: what one of them reads in another way
is a broker that ``check`` reaches and a worker does not.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from amqp.exceptions import AMQPError, MessageNacked, RecoverableConnectionError
from kombu import Exchange, Queue
from kombu.connection import Connection
from redis.exceptions import AuthenticationError, MaxConnectionsError, ResponseError

from cprqueue import config, log
from cprqueue.runtime import amqp_transport
from cprqueue.settings import broker_address

CONNECT_SECONDS = 3
ANSWER_SECONDS = 10
NETWORK_SECONDS = 5
"""For Redis behind a network, whose worker sends from the loop that also has to notice silence."""

QUICK_SECONDS = 3
"""For who asks once and may be told that there is no answer."""

CURES = {
    os.strerror(errno.EMFILE): "let this user open more files (`ulimit -n 1024`)",
    os.strerror(errno.ENOSPC): "free some space on its disk",
    os.strerror(errno.EACCES): "run this as the user that started it",
    "max number of clients": "raise its `maxclients`, and its limit of open files",
    "connection limit": "raise the limit of connections of this user or virtual host",
    "NOT_ALLOWED": "make that virtual host, give this user rights, or correct CELERY_BROKER_URL",
    "OutOfMemory": "give it more memory (`maxmemory`), or empty it",
    "MISCONF": "see in its log why it cannot write its files; most often its disk is full",
    "read only replica": "name the primary in CELERY_BROKER_URL; this one is a replica",
    "cluster": "name a server without cluster mode; Celery cannot use one with it",
    "DB index": "it has fewer databases; end CELERY_BROKER_URL with /0",
    "BusyLoading": "wait until it has read its files",
    "NoPermission": "give this user the right that is missing (ACL, docs/operations.md)",
    "MessageNacked": "empty the queue, or let it hold more (`rabbitmqctl list_policies`)",
    "PRECONDITION_FAILED": "delete that queue, and start again",
    "AuthenticationError": "correct user and password in CELERY_BROKER_URL",
    "ACCESS_REFUSED": "correct user and password in CELERY_BROKER_URL, or give it the right",
    "low on": "free what it is short of (`rabbitmq-diagnostics alarms`); it goes on by itself",
}
"""What to do about what a broker, or the operating system, says; no cure holds a colon."""


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
    if address.scheme != "redis+socket":
        wait = min(wait, NETWORK_SECONDS)
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


def lengths(conn: Any, queues: Iterable[str]) -> dict[str, int]:
    """Return how many messages wait in each queue; one that nobody has used yet is empty."""
    found = {}
    channel = conn.channel()
    try:
        for queue in queues:
            try:
                found[queue] = int(channel.queue_declare(queue=queue, passive=True).message_count)
            except conn.channel_errors:  # on Redis a queue without messages does not exist
                found[queue] = 0
                if conn.transport.driver_type == "amqp":  # it closes the channel then
                    channel = conn.channel()
    finally:
        channel.close()
    return found


def described(error: BaseException, url: str) -> str:
    """Return what came of using the broker: "does not answer" or "refuses", and its reason."""
    cause = error.__cause__ or error
    verb = "refuses" if is_refusal(cause) else "does not answer"
    return f"{verb}: {type(cause).__name__}: {reason(cause, url)}"


def reason(error: BaseException, url: str) -> str:
    """Return why the broker could not be used: one line, in the library's words, no password."""
    text = log.without_password((str(error).splitlines() or [""])[0].strip(" ."))[:300]
    for secret in (urlsplit(part).password or "" for part in url.split(";")):
        for spelled in filter(None, {secret, unquote(secret)}):
            text = text.replace(spelled, "***")
    if isinstance(error, MessageNacked):
        return "the queue takes no more messages"
    return text or "it gives no reason"


def cure(told: str, url: str) -> str:
    """Return what to do about a ``reason``; ``url`` is "" for the embedded broker."""
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return (
            "name its authority in CELERY_BROKER_URL (?ssl_ca_certs=FILE) or REQUESTS_CA_BUNDLE, "
            "and the host as its certificate does"
        )
    for words, found in CURES.items():
        if words.lower() in told.lower():
            return found
    if not url:
        return "see what `cprqueue up` says; it starts this broker again by itself"
    if url.startswith(broker_address.ENCRYPTED) and ("time" in told.lower() or "SSL" in told):
        return "start it, or correct CELERY_BROKER_URL (is this its port for TLS?)"
    return "start it, or correct CELERY_BROKER_URL"


def is_refusal(error: BaseException) -> bool:
    """Tell whether the broker itself answered, with an error."""
    cause = error.__cause__ or error
    answers = AMQPError | MessageNacked | ResponseError | AuthenticationError | MaxConnectionsError
    return isinstance(cause, answers) and not isinstance(cause, RecoverableConnectionError)
