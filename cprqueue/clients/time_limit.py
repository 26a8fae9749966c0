"""One limit for a whole request: head and body of its answer, however slowly they come.

A socket's own limit is for one wait, and every byte begins it anew: a service, or a gateway before
it, that drips the lines of a head, or says "100 Continue" again and again, would hold a request for
longer than the lease under which it was sent. So each read of an answer asks here first.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

from cprqueue.boot_clock import boot_seconds

BUFFER_BYTES = 64 * 1024
ALIVE_SECONDS = 5.0
"""How often at least a wait says that it still waits."""


class Limit:
    """Until when one request may take; ``idle_seconds``: how long nothing at all may come."""

    def __init__(self, seconds: float, idle_seconds: float, alive: Callable[[], None]) -> None:
        self.seconds, self.idle_seconds = seconds, idle_seconds
        self._alive = alive
        self._until = boot_seconds() + seconds

    @property
    def is_over(self) -> bool:
        """Tell whether the time of the whole request is up."""
        return boot_seconds() >= self._until

    def wait(self, sock: socket.socket) -> None:
        """Return once there is something to read. Raises TimeoutError where the time is up."""
        silent_until = boot_seconds() + self.idle_seconds
        while not self.is_over:
            left = min(silent_until, self._until) - boot_seconds()
            if _readable(sock, max(0.0, min(left, ALIVE_SECONDS))):
                return
            if boot_seconds() >= silent_until:
                break
            self._alive()
        raise TimeoutError("no answer in time")


_current: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(
    seconds: float, idle_seconds: float, alive: Callable[[], None] = lambda: None
) -> Iterator[Limit]:
    """Let the request that is sent in the block, with its answer, take so long and no longer.

    ``alive`` is called every few seconds while nothing comes.
    """
    limit = Limit(seconds, idle_seconds, alive)
    token = _current.set(limit)
    try:
        yield limit
    finally:
        _current.reset(token)


def _readable(sock: socket.socket, seconds: float) -> bool:
    pending = getattr(sock, "pending", None)  # what TLS has decrypted already
    return bool(pending and pending()) or wait_for_read(sock, seconds)


class _Timed(io.RawIOBase):
    """What comes out of a socket; each read waits under the limit."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, limit: Limit) -> None:
        self._raw, self._sock, self._limit = raw, sock, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._limit.wait(self._sock)
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **names: Any) -> None:
        super().__init__(sock, *args, **names)
        limit = _current.get()
        if limit is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_Timed(raw, sock, limit), BUFFER_BYTES)


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}


class LimitedAdapter(HTTPAdapter):
    """Requests' way to a service, or to the proxy before it, under the limit of ``limited``."""

    def init_poolmanager(self, *args: Any, **names: Any) -> None:
        super().init_poolmanager(*args, **names)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **names: Any) -> Any:
        made = super().proxy_manager_for(proxy, **names)
        if not proxy.lower().startswith("socks"):  # it has connections of its own
            made.pool_classes_by_scheme = POOLS
        return made
