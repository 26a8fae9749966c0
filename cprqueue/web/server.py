"""Serve the board, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application as Pages
from tornado.web import RequestHandler

from cprqueue.bootstrap import Application
from cprqueue.config import Settings
from cprqueue.errors import UsageError
from cprqueue.runtime.programs import WEB_LINE
from cprqueue.settings.values import is_loopback
from cprqueue.web import pages, parts
from cprqueue.web.answer import Assets
from cprqueue.web.board import Board
from cprqueue.web.page import NotFound

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
MOST_HEADER_BYTES = 16 * 1024
MOST_BODY_BYTES = 64 * 1024
IDLE_SECONDS, BODY_SECONDS = 60, 10


def application(board: Board, port: int) -> Pages:
    """Return what answers requests; ``port`` names the cookies."""
    return Pages(
        [*pages.routes()],
        board=board,
        port=port,
        navigation=pages.navigation(),
        template_path=str(HERE / "templates"),
        static_path=str(HERE / "static"),
        static_handler_class=Assets,
        default_handler_class=NotFound,
        ui_methods=parts.METHODS,
        ui_modules=parts.MODULES,
        log_function=_log_nothing,
    )


def _log_nothing(handler: RequestHandler) -> None:
    """No request is logged: what people search for are names and addresses of customers."""


def server(board: Board, port: int) -> HTTPServer:
    """Return the server of a board; it listens nowhere yet."""
    logging.getLogger("tornado").setLevel(logging.ERROR)  # its warnings hold what was sent
    return HTTPServer(
        application(board, port),
        max_header_size=MOST_HEADER_BYTES,
        max_body_size=MOST_BODY_BYTES,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=BODY_SECONDS,
    )


def require_sandbox(settings: Settings, address: str) -> None:
    """Raise UsageError unless an open board shows nothing but a sandbox, on this machine alone."""
    services = (settings.rm_base_url, settings.qbt_base_url)
    hosts = [address, *(urlsplit(url).hostname or "" for url in services)]
    if not all(map(is_loopback, hosts)):
        raise UsageError("a board without log-in is for the sandbox, on loopback, alone")


def listen(address: str, port: int) -> socket.socket:
    """Take the port. Raises UsageError, in one line, where it is not free."""
    try:
        taken = socket.create_server((address, port), backlog=128)
    except OSError as error:
        raise UsageError(
            f"port {port} is not free for the board ({error.strerror}): choose another as "
            "CPR_WEB_PORT"
        ) from None
    taken.setblocking(False)
    return taken


def serve(app: Application, *, address: str, port: int, is_open: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; call it in the main thread. Port 0 takes any free one."""
    logging.getLogger("cprqueue.web").setLevel(logging.INFO)
    board = Board.of(app, is_open=is_open)
    try:
        asyncio.run(_serve(board, listen(address, port)))
    finally:
        board.close()


async def _serve(board: Board, listening: socket.socket) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host, port = listening.getsockname()[:2]
    answering = server(board, port)
    answering.add_socket(listening)
    log.info(WEB_LINE, extra={"url": board.place.url or f"http://{host}:{port}/"})
    await stopped.wait()
    answering.stop()
    await answering.close_all_connections()
