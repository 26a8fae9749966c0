"""What several test modules share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cprqueue.sandbox.server import Sandbox
from cprqueue.store import schema
from cprqueue.store.database import Database
from tests import log_scan
from tests.office import MakeOffice, Office, put_tables
from tests.other_servers import new_database
from tests.running import System

pytest_plugins = ["tests.tsql.recording"]


def pytest_configure() -> None:
    """Collect what the tests log, from the first line on; let Ctrl-C be heard by what they start.

    A shell starts what runs in the background with SIGINT ignored, and every child inherits it.
    """
    log_scan.begin()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST_FIRST = (
    "services/test_switches",
    "services/push/test_plan_properties",
    "web/test_story",
    "system/test_p",  # prunes and pushes
    "system/test_every_command",
    "system/",
    "",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take minutes first: xdist hands out the files in this order."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = str(item.path.relative_to(here))
        return next(n for n, start in enumerate(LONGEST_FIRST) if name.startswith(start))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _nothing_private_is_logged() -> Iterator[None]:
    """Fail the test in whose logs an address or a secret stands."""
    yield
    assert log_scan.end_of_test() == []


@pytest.fixture(scope="module")
def small_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """An installation with a sandbox of 60 jobs; nothing runs on it yet."""
    with Sandbox(jobs=60) as sandbox:
        yield System(tmp_path_factory.mktemp("small"), sandbox)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A new, empty database on PostgreSQL, dropped afterwards."""
    with new_database("CPR_TEST_POSTGRES_URL") as url:
        yield url


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Both services; without jobs, unless the marker ``rm_jobs`` names some."""
    mark = request.node.get_closest_marker("rm_jobs")
    with Sandbox(jobs=list(mark.args) if mark else []) as running:
        yield running


@pytest.fixture
def server_url() -> Iterator[str]:
    """A new, empty database on the server that ``CPR_TEST_ON`` names, or "": SQLite will do."""
    variable = os.environ.get("CPR_TEST_ON", "")
    if not variable:
        yield ""
        return
    with new_database(variable) as url:
        yield url


@pytest.fixture
def make_office(sandbox: Sandbox, tmp_path: Path, server_url: str) -> Iterator[MakeOffice]:
    """Make offices that share one sandbox and one database; settings are keyword arguments."""
    place = {"DATABASE_URL": server_url} if server_url else {}
    with ExitStack() as closing:

        def make(**settings: str) -> Office:
            made = Office(sandbox, tmp_path / "var", **(place | settings))
            closing.callback(made.close)
            return made

        yield make


@pytest.fixture
def office(request: pytest.FixtureRequest, make_office: MakeOffice) -> Office:
    """The services of one installation; the marker ``settings`` gives them other settings."""
    mark = request.node.get_closest_marker("settings")
    return make_office(**(mark.kwargs if mark else {}))


@pytest.fixture
def system(sandbox: Sandbox, tmp_path: Path) -> System:
    """The same installation, for commands that run as processes of their own."""
    return System(tmp_path, sandbox)


@pytest.fixture
def db(tmp_path: Path, server_url: str) -> Iterator[Database]:
    """An empty database with all tables."""
    if not server_url:
        put_tables(tmp_path / "cpr.db")
    made = Database(server_url or f"sqlite:///{tmp_path / 'cpr.db'}")
    schema.upgrade(made)
    yield made
    made.close()
