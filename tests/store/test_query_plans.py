"""No statement of the work reads a whole table: for each job it costs the same at any number.

The plans are the databases' own, with the statistics of many jobs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, Unicode, cast, event, insert, literal, select, update

from cprqueue.clients.budget import Budget
from cprqueue.domain.models import Address, Job
from cprqueue.domain.recording import Change, Finding, Sighting
from cprqueue.domain.states import LinkState, RunKind, RunState
from cprqueue.services.record import record_in
from cprqueue.store import (
    events,
    exports,
    held_pushes,
    job_batches,
    job_changes,
    jobs,
    leases,
    links,
    places,
    plan_items,
    push_queue,
    runs,
    schema,
)
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import events as events_table
from cprqueue.store.tables import jobs as jobs_table
from cprqueue.store.tables import links as links_table
from cprqueue.store.tables import qbt_export
from tests.linked import RULES
from tests.other_servers import STARTED, new_database

POWER = 13
MANY = 2**POWER
NUMBERS = ("jobcode_id", "location_id")
DUE, WAITING = 500, 2_500
"""So many jobs are due, and so many more wait for a fetch to close."""
KEYS = [f"a-{n}" for n in range(MANY - 50, MANY)]
IDS = list(range(MANY - 50, MANY))

GROWS = {
    "sqlite": re.compile(r"^SCAN (?:jobs|links|qbt_export|events)\b|ix_links_queue \(state=\?\)$"),
    "postgresql": re.compile(r"Seq Scan on (?:jobs|links|qbt_export|events)\b"),
    "mariadb": re.compile(r"^(?:jobs|links|qbt_export|events) (?:ALL|index)\b"),
}


def double(conn: Connection, table: Table, number: str, *names: str) -> None:
    """Make MANY rows of one: copies with other numbers, and other names where one is named."""
    key = table.c[number]
    given = [c for c in table.c if c.name == key.name or not (c.primary_key or c.unique)]
    for power in range(POWER):
        other = key + 2**power
        told = cast(other, Unicode(20))
        changed = {number: other, **{name: literal("a-") + told for name in names}}
        changed |= {name: other for name in NUMBERS if name in table.c}
        values = [changed.get(c.key, c) for c in given]
        conn.execute(insert(table).from_select(given, select(*values)))


def first_rows(conn: Connection, now: datetime) -> None:
    job = Job(job_id=1, job_number="a-1", job_name="", site_id=1, status="Active", progress="Open",
              address=Address())  # fmt: skip
    run_id = runs.create(conn, RunKind.FETCH, state=RunState.DONE)
    record_in(conn, RULES, job, Sighting(run_id=run_id, number=1, complete=True, observed_at=now))
    code = {"jobcode_id": 1, "location_id": 1, "observed_key": "a-1"}
    conn.execute(update(links_table).values(state=LinkState.IN_SYNC, **code))
    row = {"run_id": 2, "jobcode_id": 1, "location_id": 1, "name_key": "a-1"}
    conn.execute(insert(qbt_export).values(row).inline())


def fill(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        first_rows(conn, now)
        double(conn, jobs_table, "job_id", "job_number", "name_key")
        double(conn, links_table, "job_id", "observed_key")
        double(conn, qbt_export, "jobcode_id", "name_key")
        double(conn, events_table, "job_id")
        due = update(links_table).where(links_table.c.job_id <= DUE + WAITING)
        conn.execute(due.values(state=LinkState.DUE, next_attempt_at=now))
        waits = due.where(links_table.c.job_id > DUE)
        conn.execute(waits.values(due_run_id=1, next_attempt_at=now - timedelta(days=1)))
    if db.is_sqlite:
        return  # which never has statistics: nobody makes any
    analyze = "ANALYZE"
    if db.engine.dialect.name != "postgresql":
        analyze += " TABLE jobs, links, qbt_export, events"
    with db.begin() as conn:
        conn.exec_driver_sql(analyze).close()


@pytest.fixture(scope="module", params=("sqlite", *STARTED))
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a database with many jobs, all of them in QuickBooks Time, some due."""
    directory: Path = tmp_path_factory.mktemp("plans")
    with new_database(request.param, directory) as url:
        made = Database(url)
        schema.upgrade(made)
        fill(made)
        yield made
        made.close()


def claim(conn: Connection, now: datetime) -> None:
    rows = leases.claim(conn, "mine", now=now, limit=50, until=now + timedelta(minutes=1))
    assert [row.job_id for row in rows] == list(range(1, 51))
    assert leases.renew(conn, "mine", now + timedelta(minutes=2))
    leases.finish_each(conn, "mine", {row.job_id: "" for row in rows}, {"state": LinkState.IN_SYNC})
    push_queue.release(conn, "mine")


def record_many(conn: Connection) -> None:
    """Write a batch of jobs that are as they were, as another fetch has shown them."""
    known = job_batches.recorded(conn, IDS)
    assert len(known) == len(IDS)
    seen = {"seen_run_id": 9, "complete_run_id": 9, "sighting": 9}
    job_batches.write(
        conn,
        [
            (row, Change(job_id=job_id, finding=Finding.UNCHANGED, columns=seen))
            for job_id, row in known.items()
        ],
    )


WORK: dict[str, Callable[[Connection, datetime], object]] = {
    "record": lambda conn, _: job_changes.recorded(conn, 7),
    "record many": lambda conn, _: record_many(conn),
    "history": lambda conn, _: events.of_job(conn, 7),
    "claim": claim,
    "due now": lambda conn, now: push_queue.due_now(conn, now=now),
    "next due": lambda conn, now: push_queue.next_due_in(conn, now=now),
    "wake-ups": lambda conn, now: push_queue.one_of_each_batch(conn, now=now, every=50),
    "claimants": lambda conn, _: jobs.claimants(conn, KEYS),
    "of a number": lambda conn, _: jobs.ids_of_number(conn, "A-7"),
    "found by number": lambda conn, _: jobs.find(conn, "A-7"),
    "found by id": lambda conn, _: jobs.find(conn, "7"),
    "with jobs": lambda conn, _: push_queue.with_jobs(conn, IDS),
    "by jobcode": lambda conn, _: links.with_jobcodes(conn, IDS),
    "recorded by a small fetch": lambda conn, _: runs.recorded_count(conn, small_fetch(conn)),
    "undecided": lambda conn, _: held_pushes.undecided_runs(conn),
    "name conflicts": lambda conn, now: push_queue.requeue_name_conflicts(conn, "a-7", now=now),
    "exports by name": lambda conn, _: exports.named(conn, 2, KEYS),
    "exports by jobcode": lambda conn, _: exports.of_jobcodes(conn, 2, IDS),
    "placed": lambda conn, _: places.note(conn, 2, dict.fromkeys(IDS, "complete")),
    "sharers": lambda conn, _: exports.sharers(conn, 2, IDS),
    "seen": lambda conn, _: jobs.mark_seen(conn, 3, [7], ["a-8"]),
    "plan": lambda conn, _: plan_items.of_run(conn, 1),
}


def small_fetch(conn: Connection) -> Any:
    """Return a fetch that has just begun: nothing is recorded of it yet."""
    run_id = runs.create(conn, RunKind.FETCH)
    runs.start(conn, run_id, observed_at=clock(conn), sighting=run_id)
    return runs.existing(conn, run_id)


def steps(conn: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """Yield the steps of a statement's plan."""
    prefix = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
    for row in conn.exec_driver_sql(f"{prefix} {statement}", parameters).mappings():
        if conn.dialect.name in ("mariadb", "mysql"):
            yield f"{row['table']} {row['type']} {row['key']} {row['rows']}"
        else:
            yield str(row["detail" if conn.dialect.name == "sqlite" else "QUERY PLAN"]).strip()


@pytest.mark.parametrize("what", WORK)
def test_no_statement_of_the_work_reads_a_whole_table(full: Database, what: str) -> None:
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "WITH")):
            seen.append((statement, parameters[0] if many else parameters))

    with full.engine.connect() as conn:
        event.listen(conn, "before_cursor_execute", note)
        now = clock(conn)
        WORK[what](conn, now)
        event.remove(conn, "before_cursor_execute", note)
        plans = {each: list(steps(conn, each, values)) for each, values in seen}
        conn.rollback()
    assert plans
    dialect = full.engine.dialect.name
    wrong = GROWS["mariadb" if dialect == "mysql" else dialect]
    assert not {each: plan for each, plan in plans.items() if any(map(wrong.search, plan))}
    chosen = [
        plan for each, plan in plans.items() if re.match("UPDATE links.*job_id IN", each, re.DOTALL)
    ]
    assert "ix_links_queue" not in str(chosen)  # these few rows, not all that are due


def test_a_claim_passes_over_what_waits_for_a_fetch_without_reading_it(full: Database) -> None:
    with full.read() as conn:
        now = clock(conn)
        ready = push_queue.one_of_each_batch(conn, now=now, every=50)
    assert ready == list(range(1, DUE, 50))


def test_a_budget_of_many_slots_is_looked_through_by_its_index(full: Database) -> None:
    budget = Budget(full, limit=MANY, window=timedelta(seconds=300))
    slot = budget.take()
    budget.stamp(slot)
    assert budget.wait_seconds() == 0
    with full.read() as conn:
        assert budget.free(conn) == MANY - 1
