"""The HTTP server of ``cprqueue metrics --port``: /metrics and nothing else."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from cprqueue.cli import failing
from cprqueue.cli.console import note
from cprqueue.errors import UsageError

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5
"""Whoever has not sent the whole request by then is hung up on."""

DATABASE_SECONDS = 10
"""As long as Prometheus waits for an answer, unless told otherwise."""


def serve(host: str, port: int, read: Callable[[], bytes]) -> None:
    """Serve what ``read`` returns at each request, until SIGTERM or Ctrl-C.

    One request reads at a time, the others wait for it. Each answer ends its connection. Raises
    UsageError where the port cannot be had.
    """
    asyncio.run(_serve(host, port, read))


async def _serve(host: str, port: int, read: Callable[[], bytes]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with ThreadPoolExecutor(1, "scrape") as reader:
        pages = [("/metrics", _Metrics, {"read": read, "reader": reader})]
        server = HTTPServer(
            Application(pages, log_function=_say_nothing),
            no_keep_alive=True,
            idle_connection_timeout=REQUEST_SECONDS,
            body_timeout=REQUEST_SECONDS,
            max_body_size=0,
        )
        try:
            server.listen(port, host)
        except OSError as error:
            raise UsageError(f"{host}:{port}: {error.strerror}: choose another --port") from None
        note(f"metrics: http://{host}:{_port(server)}/metrics; Ctrl-C ends it")
        await stopped.wait()
        server.stop()
        await server.close_all_connections()


def _port(server: HTTPServer) -> int:
    (listening, *_) = server._sockets.values()
    return int(listening.getsockname()[1])


def _say_nothing(_handler: RequestHandler) -> None:
    """Log no line for each request."""


class _Metrics(RequestHandler):
    def initialize(self, read: Callable[[], bytes], reader: ThreadPoolExecutor) -> None:
        self.read, self.reader = read, reader

    async def get(self) -> None:
        work = asyncio.get_running_loop().run_in_executor(self.reader, self.read)
        try:
            content = await asyncio.wait_for(work, DATABASE_SECONDS)
        except TimeoutError:
            self._fail(f"the database has not answered for {DATABASE_SECONDS} s")
        except Exception as error:  # noqa: BLE001 - said in a line; the next scrape may succeed
            self._fail(failing.ending(error).text)
        else:
            self.set_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
            self.finish(content)

    def _fail(self, reason: str) -> None:
        """Say it in the log alone: whoever scrapes need not know where the database is."""
        log.warning("scrape failed", extra={"reason": reason})
        self.set_status(503)
        self.finish("the database cannot be read: the log of `cprqueue metrics` says why\n")
