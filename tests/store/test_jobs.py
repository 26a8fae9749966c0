"""Jobs are found by what people type, whatever it means in a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.store import jobs, schema
from cprqueue.store.database import Database
from tests.linked import know
from tests.other_servers import DATABASES, new_database


@pytest.fixture(params=DATABASES)
def found_by(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind that knows some odd numbers."""
    with new_database(request.param, tmp_path) as url:
        db = Database(url)
        schema.upgrade(db)
        for job_id, number in enumerate(("A[1]", "A1", "5%", "57", "B_2", "BX2", "C\\3", "C3"), 1):
            know(db, job_id, number=number)
        yield db
        db.close()


def test_a_pattern_that_somebody_types_is_only_text(found_by: Database) -> None:
    typed = {"[1]": [1], "a[": [1], "%": [3], "_": [5], "c\\": [7], "]": [1], "a": [1, 2]}
    with found_by.read() as conn:
        found = {text: [row.job_id for row in jobs.find(conn, text)] for text in typed}
    assert found == typed
