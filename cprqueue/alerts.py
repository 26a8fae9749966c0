"""Messages to people through Apprise (mail, chat, SMS), and the signal to a monitor outside."""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5
HEARTBEAT_TOTAL_SECONDS = 10
HEARTBEAT_REDIRECTS = 3
TYPES = {"info": "info", "warning": "warning", "error": "failure"}


def is_understood(url: str) -> bool:
    """Tell whether Apprise can make something of the URL; nothing is sent."""
    with _listening():
        return _service(url) is not None


def send(url: str, *, title: str, text: str, level: str) -> str:
    """Send one message to one URL; return why it did not go, or "". Nothing is raised.

    ``level``: info, warning or error. The message ends with it and this host's name. The text is
    plain: no name of a job is read as markup, and what is too long for one message is several.
    """
    body = f"{text}\n\nlevel: {level}, host: {socket.gethostname()}"
    with _listening() as said:
        service = _service(url)
        if service is None:
            return "Apprise does not understand the URL"
        try:
            sent = service.notify(
                body=body,
                title=f"cprqueue: {title}",
                notify_type=TYPES[level],
                body_format="text",
                overflow="split" if service.overflow_mode == "upstream" else None,
            )
        except Exception as error:  # noqa: BLE001  (a hundred libraries; it is said)
            said.append(type(error).__name__)
            sent = False
    if sent:
        return ""
    return _without_secrets(said[-1] if said else "it gives no reason", url)


def shown(url: str) -> str:
    """Return an alert URL as a terminal may show it: scheme and host, secrets masked."""
    with _listening():
        service = _service(url)
    masked = service.url(privacy=True) if service is not None else ""
    found = re.match(r"[^:]+://[^/?]*", masked)
    return f"{found[0]}/..." if found else f"{url.partition(':')[0]}://..."


def beat(url: str) -> str:
    """Call the monitor that watches us; return why it did not hear it, or "". Nothing is raised.

    It takes HEARTBEAT_TOTAL_SECONDS at most, however slowly the monitor answers: the next sweep
    waits behind this one.
    """
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: said.put(_call(url)), daemon=True).start()
    try:
        return said.get(timeout=HEARTBEAT_TOTAL_SECONDS)
    except queue.Empty:
        return f"no answer within {HEARTBEAT_TOTAL_SECONDS} s"


def _call(url: str) -> str:
    import requests

    def as_it_is(request: Any) -> Any:
        return request  # or requests would send a password out of .netrc

    try:
        parts = urlsplit(url)
        given = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        with requests.Session() as session:
            session.max_redirects = HEARTBEAT_REDIRECTS
            auth = given or as_it_is
            reply = session.get(url, timeout=HEARTBEAT_SECONDS, stream=True, auth=auth)
            reply.close()
    except (requests.RequestException, OSError, ValueError) as error:
        return type(error).__name__  # its text may hold the URL, which is a secret
    return "" if reply.ok else f"it answered {reply.status_code}"


def _service(url: str) -> Any:
    import apprise  # its hundred services take a while to load, and most processes never alert

    return apprise.Apprise.instantiate(url, suppress_exceptions=True)


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split())[:200])


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what Apprise logs in the block, and keep it out of the log: it may hold the URL."""
    library, said = logging.getLogger("apprise"), _Said()
    before = library.propagate, library.level
    library.propagate = False
    library.setLevel(logging.WARNING)
    library.addHandler(said)
    try:
        yield said.lines
    finally:
        library.removeHandler(said)
        library.propagate, library.level = before


def _without_secrets(text: str, url: str) -> str:
    """Mask each part of the URL behind its scheme, but the host."""
    host = _host(url)
    for part in re.split(r"[/:@?&=,]+", url.partition("://")[2]):
        for spelled in {part, unquote(part)}:
            if len(spelled) > 3 and spelled.lower() != host:
                text = text.replace(spelled, "***")
    return text


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
