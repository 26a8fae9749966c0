"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.office import Office
from tests.other_servers import new_database
from tests.running import System


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
