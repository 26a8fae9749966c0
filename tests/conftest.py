"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cprqueue.sandbox.server import Sandbox
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
