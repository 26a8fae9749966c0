"""A local web server in the place of the services that alerts and heartbeats go to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Receiver:
    """What came so far: the messages that were posted, and how often each path was called."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: list[dict[str, Any]] = []
        self.called: Counter[str] = Counter()

    @property
    def titles(self) -> list[str]:
        """The titles of all messages, without the name of the program."""
        return [each["title"].removeprefix("cprqueue: ") for each in self.messages]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run one for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            receiver.called[self.path] += 1
            self._answer(404 if "/gone" in self.path else 200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.messages.append(json.loads(body))
            self._answer(500 if "/broken" in self.path else 200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
