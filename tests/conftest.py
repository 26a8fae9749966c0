"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.sandbox.server import Sandbox
from cprqueue.store import schema
from cprqueue.store.database import Database
from tests.office import Office
from tests.other_servers import new_database
from tests.running import System

# One process works on a file to its end. A long file that comes last would keep one process at
# work alone, so the long ones come first, the longest of all at the top.
LONGEST_FIRST = (
    "test_prune_system.py",
    "test_sync.py",
    "test_up.py",
    "test_chaos.py",
    "test_plan_properties.py",
    "test_json_logs.py",
    "test_demo.py",
    "test_snapshot.py",
    "test_broker_guard.py",
    "test_inspect.py",
    "test_push_failures.py",
    "test_files.py",
    "test_push_scale.py",
    "test_check.py",
    "test_celery_commands.py",
    "test_prune.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


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
def sandbox() -> Iterator[Sandbox]:
    """Both services without jobs, and with calls in plenty."""
    with Sandbox(jobs=[]) as running:
        running.qbt.switches.update({"rate_limit": 5000})
        yield running


@pytest.fixture
def office(sandbox: Sandbox, tmp_path: Path) -> Iterator[Office]:
    """The services of one installation on that sandbox."""
    made = Office(sandbox, tmp_path, QBT_RATE_LIMIT="5000")
    yield made
    made.close()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with all tables."""
    made = Database(f"sqlite:///{tmp_path / 'cpr.db'}")
    schema.upgrade(made)
    yield made
    made.close()
