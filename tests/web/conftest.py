"""A board that answers real HTTP, in a thread of its own."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.sandbox.credentials import environment
from cprqueue.settings.web import Role, WebUser
from cprqueue.web import passwords, server
from cprqueue.web.board import Board
from tests.office import put_tables

PASSWORD = "correct horse battery"
TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')


def user(name: str, role: Role) -> str:
    """Return a user's line; its hash is quick to compute."""
    return WebUser(name=name, hash=passwords.hashed(PASSWORD, log_n=4), role=role).text()


USERS = ";".join([user("ann", Role.OPERATOR), user("bo", Role.VIEWER)])


class Browser:
    """Somebody at the board, with cookies of his own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()

    def get(self, path: str, **options: object) -> requests.Response:
        """Load a page."""
        return self.http.get(self.url + path, timeout=20, **options)  # type: ignore[arg-type]

    def post(self, path: str, token: str | None = None, **fields: object) -> requests.Response:
        """Send a form, with the token that a page of the board has for it."""
        found = self.token() if token is None else token
        return self.http.post(
            self.url + path, data={"token": found, **fields}, timeout=20, allow_redirects=False
        )

    def token(self) -> str:
        """Return the token of this visitor's forms, from whatever page there is."""
        found = TOKEN.search(self.get("/login").text) or TOKEN.search(self.get("/nothing").text)
        assert found is not None
        return found[1]

    def log_in(self, name: str, password: str = PASSWORD, **fields: str) -> requests.Response:
        """Send name and password."""
        return self.post("/login", name=name, password=password, **fields)


class Running:
    """A board that runs."""

    def __init__(self, board: Board, url: str) -> None:
        self.board, self.url = board, url

    def browser(self, name: str = "") -> Browser:
        """Return a new visitor, who is logged in where he has a name."""
        made = Browser(self.url)
        if name:
            assert made.log_in(name).status_code == 303
        return made


@contextmanager
def running(env: dict[str, str], *, is_open: bool = False) -> Iterator[Running]:
    """Run a board with these settings for the block."""
    board = Board.of(Application(config.load(env)), is_open=is_open)
    listening = server.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        answering = server.server(board, port)
        answering.add_socket(listening)
        await stop.wait()
        answering.stop()
        await answering.close_all_connections()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        yield Running(board, f"http://127.0.0.1:{port}")
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        board.close()
        board.app.close()


StartBoard = Callable[..., Running]


@pytest.fixture(scope="module")
def start() -> Iterator[StartBoard]:
    """Start boards, each on a database of its own; settings are keyword arguments."""
    with ExitStack() as stack:

        def make(*, is_open: bool = False, **settings: str) -> Running:
            var = Path(stack.enter_context(TemporaryDirectory()))
            put_tables(var / "cprqueue.db")
            base = {"CPR_VAR_DIR": str(var), "CPR_WEB_USERS": USERS, "CPR_TESTING": "1"}
            env = {**environment("http://127.0.0.1:9"), **base, **settings}
            return stack.enter_context(running(env, is_open=is_open))

        yield make


@pytest.fixture(scope="module")
def board(start: StartBoard) -> Running:
    """One board for the tests of a module."""
    return start()
