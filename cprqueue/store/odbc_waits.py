"""A limit on every wait for a server through ODBC.

Its drivers have one limit for all answers, if any, and closing a connection that fell silent
waits for a last answer. So each connection's socket is found as it is made, and shut down once
an answer is overdue: the driver then fails at once, as after any lost connection.
"""

from __future__ import annotations

import atexit
import math
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Engine, PoolProxiedConnection, event
from sqlalchemy.engine.interfaces import DBAPIConnection

T = TypeVar("T")

STATEMENT_SECONDS = 60
"""Longest time that a server lets one statement run; ours take far less."""

LIMITS = {
    "do_ping": 10.0,
    "do_execute": STATEMENT_SECONDS + 15.0,
    "do_executemany": STATEMENT_SECONDS + 15.0,
    "do_execute_no_params": STATEMENT_SECONDS + 15.0,
    "do_commit": STATEMENT_SECONDS + 15.0,
    "do_rollback": 10.0,  # the server does it all the same
    "do_close": 2.0,
}
"""Seconds for what SQLAlchemy's dialects ask of a connection. The pool pings before each use."""

_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
"""A network that takes no packets any more is found out by the kernel, within 25 s."""

_PORTS = {"mssql": 1433, "mysql": 3306, "mariadb": 3306}
_LOGIN_PATIENCE_SECONDS = 1.0
_OPEN_FILES = Path("/dev/fd")


class _Socket(NamedTuple):
    """A driver's socket: its number may be another's once it is closed, its inode is not."""

    descriptor: int
    inode: int
    made_at: float


class _Watch:
    """Cuts whoever waits beyond his limit; its one thread begins with the first wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[object, tuple[float, Callable[[], None]]] = {}
        self._looks_at = math.inf
        self._began = False

    @contextmanager
    def over(self, seconds: float, cut: Callable[[], None]) -> Iterator[None]:
        """Call ``cut``, from another thread, if the block takes longer."""
        wait, end = object(), time.monotonic() + seconds
        with self._changed:
            self._begin()
            self._due[wait] = end, cut
            if end < self._looks_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(wait, None)

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            threading.Thread(target=self._work, name="odbc-waits", daemon=True).start()

    def _work(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for wait in [wait for wait, (end, _) in self._due.items() if end <= now]:
                    self._due.pop(wait)[1]()
                self._looks_at = min((end for end, _ in self._due.values()), default=math.inf)
                left = None if self._looks_at == math.inf else self._looks_at - now
                self._changed.wait(left)


class _Sockets:
    """The sockets of one engine's connections."""

    def __init__(self, url: URL) -> None:
        said = str(url.port or url.query.get("port", ""))
        self._port = int(said) if said.isdecimal() else _PORTS.get(url.get_backend_name(), 0)
        self._of: dict[int, _Socket] = {}
        self._lost_at = -math.inf

    def connect(self, make: Callable[[], T]) -> T:
        """Make a connection and find its socket; one that cannot be told has the driver's limits.

        While another thread logs in, its socket might be taken for ours: so we wait a moment.
        """
        alone = _logins.acquire(timeout=_LOGIN_PATIENCE_SECONDS)
        try:
            before = _open_sockets()
            made = make()
            found = [_Socket(*one, time.monotonic()) for one in _open_sockets() - before]
        finally:
            if alone:
                _logins.release()
        self._of.pop(id(made), None)  # of an earlier one, at the same place in memory
        if one := self._leads_to_server(found):
            self._of[id(made)] = one
            _keep_alive(one)
        return made

    def _leads_to_server(self, found: list[_Socket]) -> _Socket | None:
        """Return the one that leads to the server's port, or the only one that leads anywhere."""
        leads = {one: port for one in found if (port := _port_behind(one))}
        there = [one for one, port in leads.items() if port == self._port] or list(leads)
        return there[0] if len(there) == 1 else None

    def limited(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same work with its limit; the first argument is a connection or a cursor."""

        def within(subject: Any, *rest: Any, **options: Any) -> Any:
            key = id(_connection_of(subject))
            one = self._of.pop(key, None) if name == "do_close" else self._of.get(key)
            if one is None:
                return work(subject, *rest, **options)
            if name == "do_close" and one.made_at < self._lost_at:
                _cut(one)  # no last word to a server that has fallen silent since
            with _watch.over(LIMITS[name], lambda: self._lose(one)):
                return work(subject, *rest, **options)

        return within

    def _lose(self, one: _Socket) -> None:
        self._lost_at = time.monotonic()
        _cut(one)

    def cut_all(self) -> None:
        """Cut what is still open."""
        for one in self._of.values():
            _cut(one)


def limit(engine: Engine) -> None:
    """Limit every wait for the server of this engine, whose driver is pyodbc."""
    sockets = _Sockets(engine.url)
    for name in LIMITS:
        setattr(engine.dialect, name, sockets.limited(name, getattr(engine.dialect, name)))
    _limited[engine] = sockets

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: Any, _record: object, args: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        made: DBAPIConnection = sockets.connect(partial(dialect.connect, *args, **options))
        return made


def _connection_of(subject: Any) -> Any:
    if isinstance(subject, PoolProxiedConnection):  # as it is given back to the pool
        return subject.dbapi_connection
    return getattr(subject, "connection", subject)


def _open_sockets() -> set[tuple[int, int]]:
    """Return the number and inode of each socket that this process has open."""
    found = set()
    with suppress(FileNotFoundError):  # a system that does not list them
        for number in [int(path.name) for path in _OPEN_FILES.iterdir()]:
            with suppress(OSError):  # the listing itself, or closed meanwhile
                state = os.fstat(number)
                if stat.S_ISSOCK(state.st_mode):
                    found.add((number, state.st_ino))
    return found


@contextmanager
def _borrowed(one: _Socket) -> Iterator[socket.socket]:
    """Yield a copy of the driver's socket. Raises OSError where that is closed."""
    copy = os.dup(one.descriptor)
    try:
        if os.fstat(copy).st_ino != one.inode:
            raise OSError("closed: the number is another's by now")
        ours = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with ours:
        yield ours


def _port_behind(one: _Socket) -> int | None:
    """Return the port that a connection over a network leads to; None for any other socket."""
    with suppress(OSError), _borrowed(one) as ours:
        if ours.family in (socket.AF_INET, socket.AF_INET6) and ours.type == socket.SOCK_STREAM:
            return int(ours.getpeername()[1])
    return None


def _keep_alive(one: _Socket) -> None:
    """Have the kernel find out about a dead network."""
    with suppress(OSError), _borrowed(one) as ours:  # closed by now: whoever uses it is told
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (number := getattr(socket, name, None)) is not None:
                ours.setsockopt(socket.IPPROTO_TCP, number, value)


def _cut(one: _Socket) -> None:
    with suppress(OSError), _borrowed(one) as ours:  # closed already is as good
        ours.shutdown(socket.SHUT_RDWR)


def _begin_in_child() -> None:
    """Forget the threads, which are no more, and the engines, which are the parent's to close."""
    global _watch, _logins
    _watch, _logins = _Watch(), threading.Lock()
    _limited.clear()


@atexit.register
def _close_all() -> None:
    """Close with limits what Python would otherwise close without, as its last act."""
    for engine, sockets in list(_limited.items()):
        engine.dispose()
        sockets.cut_all()


_watch = _Watch()
_logins = threading.Lock()
_limited: WeakKeyDictionary[Engine, _Sockets] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_begin_in_child)
