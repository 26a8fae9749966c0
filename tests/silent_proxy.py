"""A way to a server that can fall silent: connections stay open, and nothing comes through.

With a certificate it speaks TLS to whoever connects, and plainly to the server behind it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Proxy:
    """Forwards each connection to ``port`` of this machine while ``open`` is set."""

    def __init__(self, port: int, certificates: Path | None, host: str) -> None:
        self.target, self.open, self.unanswered = port, threading.Event(), 0
        self.open.set()
        self.context = None
        if certificates:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        self.listener = socket.create_server((host, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        """Forward nothing more, and leave everything open; new connections get no answer."""
        self.open.clear()

    def recover(self) -> None:
        """Answer new connections; those that fell silent stay so for ever."""
        self.open = threading.Event()
        self.open.set()

    def close(self) -> None:
        for end in (self.listener, *self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.ends.append(client)
                threading.Thread(target=self._serve, args=(client, self.open), daemon=True).start()

    def _serve(self, client: socket.socket, open_: threading.Event) -> None:
        if not open_.is_set():
            self.unanswered += 1
            return
        with suppress(OSError):
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.target))
            self.ends += [client, server]
            back = threading.Thread(target=_pass_on, args=(server, client, open_), daemon=True)
            back.start()
            _pass_on(client, server, open_)


def _pass_on(source: socket.socket, target: socket.socket, open_: threading.Event) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            if not open_.is_set():
                return
            target.sendall(piece)
    if open_.is_set():
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy_to(
    port: int, certificates: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[Proxy]:
    """Run a proxy for the block."""
    made = Proxy(port, certificates, host)
    try:
        yield made
    finally:
        made.close()
