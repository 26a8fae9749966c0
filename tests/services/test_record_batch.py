"""Many jobs in one transaction: exactly what one by one gives, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event, select, update

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Job
from cprqueue.domain.recording import Sighting, decide
from cprqueue.domain.states import ErrorCode, LinkState
from cprqueue.errors import DatabaseUnavailable, Overtaken
from cprqueue.services.record import record
from cprqueue.services.record_batch import Seen, record_batch
from cprqueue.store import job_batches, schema
from cprqueue.store.database import Database
from cprqueue.store.tables import events, jobs, links
from tests.other_servers import DATABASES, new_database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = ActiveRules.build(
    site_ids=[], statuses=["Active"], inactive_progress=["Lost Lead"], excluded_numbers=[]
)
TIMES = {"recorded_at", "due_since", "next_attempt_at", "at", "event_id"}
JOB = Job(job_id=1, job_number="A-1", status="Active", progress="Work", address=Address("1 Elm St"))


def seen(job: Job, number: int = 1, **sighting: Any) -> Seen:
    """Return the job as the fetch of this number showed it."""
    moment = NOON + timedelta(minutes=number)
    known = {"run_id": number, "complete": True, "observed_at": moment, **sighting}
    return Seen(job, Sighting(number=number, **known))


def many(number: int) -> list[Job]:
    return [replace(JOB, job_id=n, job_number=f"A-{n}") for n in range(1, number + 1)]


@pytest.fixture(params=DATABASES, scope="module")
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Database]]:
    """Two databases of each kind."""
    with ExitStack() as closing:
        made = []
        for name in ("batch", "single"):
            url = closing.enter_context(new_database(request.param, tmp_path_factory.mktemp(name)))
            made.append(Database(url))
            closing.callback(made[-1].close)
            schema.upgrade(made[-1])
        yield made[0], made[1]


def all_at_once(db: Database, batch: Sequence[Seen]) -> list[int]:
    """Record as a task does that takes messages along; return the jobs to wake up for."""
    found = record_batch(db, RULES, batch)
    for place, one in enumerate(batch):
        if place not in found:
            found[place] = record(db, RULES, *one)
    return sorted(job_id for due in found.values() for job_id in due)


def one_by_one(db: Database, batch: Sequence[Seen]) -> list[int]:
    return sorted(job_id for one in batch for job_id in record(db, RULES, *one))


def content(db: Database) -> dict[str, list[dict[str, Any]]]:
    """Return everything on record but the times at which it was written."""
    with db.read() as conn:
        return {
            table.name: [
                {name: value for name, value in row.items() if name not in TIMES}
                for row in conn.execute(
                    select(table).order_by(*dict.fromkeys((table.c.job_id, *table.primary_key)))
                ).mappings()
            ]
            for table in (jobs, links, events)
        }


def park(db: Database, ids: Sequence[int]) -> None:
    """Park jobs as having the number of another one."""
    values = {"state": LinkState.PARKED, "error_code": ErrorCode.DOUBLED_NUMBER}
    with db.begin() as conn:
        parked = {**values, "error_reason": "doubled", "next_attempt_at": None}
        conn.execute(update(links).where(links.c.job_id.in_(ids)).values(**parked))


def empty(db: Database) -> None:
    with db.begin() as conn:
        for table in (jobs, links, events):
            conn.execute(delete(table))


a_job = st.builds(
    lambda job_id, number, status, progress, street: Job(
        job_id=job_id,
        job_number=f"A-{number}",
        status=status,
        progress=progress,
        address=Address(street),
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["Active", "Active", "Active", "Closed"]),
    st.sampled_from(["Work", "Work", "Lost Lead"]),
    st.sampled_from(["1 Elm St", "2 Elm St"]),
)
a_message = st.builds(
    lambda job, number, complete, braked, minutes: seen(
        job,
        number,
        complete=complete,
        braked=braked,
        observed_at=NOON + timedelta(minutes=minutes),
    ),
    a_job,
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1),
)
batches = st.lists(st.lists(a_message, min_size=1, max_size=8), min_size=1, max_size=4)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=batches, parked=st.sets(st.integers(1, 6)))
def test_a_batch_gives_exactly_what_one_by_one_gives(
    two: tuple[Database, Database], batches: list[list[Seen]], parked: set[int]
) -> None:
    together, single = two
    for db in two:
        empty(db)
    for batch in batches:
        due = all_at_once(together, batch), one_by_one(single, batch)
        assert due[0] == due[1]
        assert content(together) == content(single)
        for db in two:
            park(db, sorted(parked))


def test_fifty_new_jobs_and_fifty_unchanged_ones_take_few_statements(
    two: tuple[Database, Database],
) -> None:
    db, _ = two
    empty(db)
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "SELECT set_config")):
            statements.append(statement.split()[0])

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        new = record_batch(db, RULES, [seen(job) for job in many(50)])
        first, statements = statements, []
        again = record_batch(db, RULES, [seen(job, 2) for job in many(50)])
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert new == {n: [n + 1] for n in range(50)}
    assert again == {n: [] for n in range(50)}
    assert first == ["SELECT", "SELECT", "INSERT", "INSERT", "INSERT"]
    assert statements == ["SELECT", "UPDATE"]


def test_what_the_database_refuses_leaves_all_to_be_recorded_one_by_one(
    two: tuple[Database, Database],
) -> None:
    db, _ = two
    empty(db)
    batch = [seen(job) for job in [*many(3), replace(JOB, job_id=2**70)]]
    assert record_batch(db, RULES, batch) == {}
    assert content(db)["jobs"] == []


def test_two_overlapping_batches_at_once_lose_nothing(two: tuple[Database, Database]) -> None:
    """Each reads, decides and writes while the other does; an older one never wins."""
    db, _ = two
    empty(db)
    everybody = many(40)
    failed: list[BaseException] = []
    ready = threading.Barrier(2)

    def work(number: int, chosen: list[Job]) -> None:
        ready.wait()
        try:
            for turn in range(5):
                later = number + 2 * turn
                all_at_once(db, [seen(replace(job, job_name=f"{later}"), later) for job in chosen])
        except BaseException as error:
            failed.append(error)
            raise

    threads = [
        threading.Thread(target=work, args=(1, everybody)),
        threading.Thread(target=work, args=(2, everybody[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    rows = content(db)["jobs"]
    assert [row["job_id"] for row in rows] == [job.job_id for job in everybody]
    assert {(row["sighting"], row["job_name"]) for row in rows} == {(10, "10")}


def test_a_database_that_is_away_is_an_error_and_not_one_by_one(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'without-tables.db'}")
    with pytest.raises(DatabaseUnavailable):
        record_batch(db, RULES, [seen(JOB)])
    db.close()


def test_a_record_that_changed_since_it_was_read_is_not_overwritten(
    two: tuple[Database, Database],
) -> None:
    db, _ = two
    empty(db)
    record(db, RULES, *seen(JOB))
    with db.read() as conn:
        known = job_batches.recorded(conn, [1])[1]
    record(db, RULES, *seen(JOB, 3))
    change = decide(known, JOB, RULES.judge(JOB), seen(JOB, 2).sighting)
    with pytest.raises(Overtaken), db.begin() as conn:
        job_batches.write(conn, [(known, change)])
    assert content(db)["jobs"][0]["sighting"] == 3
