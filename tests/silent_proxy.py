"""A proxy before a server, whose open connections can go silent and stay open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SilentProxy:
    """Passes bytes on; after ``silence`` nothing more through what was open then."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._era = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Let what is open go silent, as a balancer does whose back end is gone."""
        self._era += 1

    def close(self) -> None:
        """End all of it."""
        for one in (self._listening, *self._open):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = self._connected()
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._pass_on, args=(one, other, self._era), daemon=True
                    ).start()

    def _connected(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target)
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._target)
        return far

    def _pass_on(self, one: socket.socket, other: socket.socket, era: int) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if self._era != era:
                    return  # both ends stay open
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(target: tuple[str, int] | str) -> Iterator[SilentProxy]:
    """Run a proxy before a TCP address or the path of a socket."""
    proxy = SilentProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
