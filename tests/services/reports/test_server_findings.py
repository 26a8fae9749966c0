"""What `check` says of a database server: judged by a table, and read from real servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cprqueue.services.reports import server_findings
from cprqueue.services.reports.findings import OK, PROBLEM, WARNING
from cprqueue.store import schema
from cprqueue.store.database import Database
from cprqueue.store.traits import Traits
from tests.other_servers import STARTED, new_database

GOOD = Traits(
    dialect="mssql",
    version=(13, 0, 5026),
    collation="SQL_Latin1_General_CP1_CI_AS",
    snapshot_reads=True,
    counts_rows=True,
    keeps_fractions=True,
)


@pytest.mark.parametrize(
    ("traits", "states", "said"),
    [
        (GOOD, [OK], "SQL Server 13.0.5026, collation SQL_Latin1_General_CP1_CI_AS, READ_COMM"),
        (replace(GOOD, version=(12, 0)), [PROBLEM], "12.0 is too old"),
        (replace(GOOD, snapshot_reads=False), [WARNING], "READ_COMMITTED_SNAPSHOT off"),
        (replace(GOOD, counts_rows=False), [PROBLEM], "how many rows an UPDATE found"),
        (replace(GOOD, keeps_fractions=False), [WARNING], "fractions of a second off"),
        (replace(GOOD, dialect="postgresql", collation="C, LATIN1"), [PROBLEM], "C, LATIN1"),
    ],
)
def test_each_trait_that_matters_is_a_line_with_its_cure(
    traits: Traits, states: list[str], said: str
) -> None:
    found = server_findings.judge(traits)
    assert [finding.state for finding in found] == states
    assert said in found[0].text
    assert bool(found[0].cure) == (states != [OK])


@pytest.fixture(params=STARTED, ids=("postgresql", "mariadb"))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with new_database(request.param) as made:
        yield made


def test_a_real_server_is_tried_out_and_keeps_nothing_of_it(url: str) -> None:
    db = Database(url)
    schema.upgrade(db)
    for _ in range(2):
        [finding] = server_findings.check(db)
        assert finding.state == OK, finding
        assert "it counts rows and keeps fractions of a second" in finding.text
    db.close()


def test_a_driver_that_counts_changed_rows_only_is_a_problem() -> None:
    with new_database("CPR_TEST_MARIADB_URL") as url:
        db = Database(f"{url}&OPTION=0")
        schema.upgrade(db)
        [finding] = server_findings.check(db)
        db.close()
    assert (finding.state, "UPDATE" in finding.text) == (PROBLEM, True)
