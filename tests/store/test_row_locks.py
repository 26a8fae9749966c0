"""Who reads a row to write it loses nothing to others: on every database, without FOR UPDATE."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from cprqueue.domain.models import Jobcode
from cprqueue.domain.records import Link, NewPlanItem, StateBefore
from cprqueue.domain.states import Outcome, RunKind, RunState, VerificationKind
from cprqueue.store import links, plan_items, runs, schema
from cprqueue.store.database import Database, clock
from tests.linked import hold, know, link
from tests.other_servers import DATABASES, new_database

TIMES = 60


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    with new_database(request.param, tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_row_locks() -> Iterator[None]:
    """Take out of every statement what SQL Server does not know."""

    def without(
        _conn: object, _cursor: object, statement: str, parameters: object, *_: object
    ) -> tuple[str, object]:
        return statement.replace(" FOR UPDATE", ""), parameters

    event.listen(Engine, "before_cursor_execute", without, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", without)


def rename(conn: Connection, n: int) -> None:
    code = Jobcode(id=101, name=f"A-{n}", active=True, assigned_to_all=True)
    links.refresh_observed(conn, 1, code, lease="reader", now=clock(conn))


def archive(conn: Connection, n: int) -> None:
    links.note_active(
        conn, 101, active=n % 2 == 0, assigned_to_all=True, verification=VerificationKind.FULL,
        lease="archive", now=clock(conn), guard=timedelta(0),
    )  # fmt: skip


def place(conn: Connection, n: int) -> None:
    row = links.get(conn, 1, to_write=True)
    assert row is not None
    links.set_observed(conn, 1, replace(row.observed, location_id=200 + n))


def reopen(conn: Connection, _n: int) -> None:
    links.assume_archived(conn, 1)


def take_jobcode(conn: Connection, n: int) -> None:
    [row] = links.touching(conn, [101], [])
    links.set_observed_of_other(
        conn, row, replace(row.observed, name=f"B-{n}"), lease="other", now=clock(conn)
    )


Step = Callable[[Connection, int], None]
Seen = Callable[[Link, int], bool]


def named(row: Link, n: int) -> bool:
    return row.observed.name in (f"A-{n}", f"B-{n}")


def placed(row: Link, n: int) -> bool:
    return (row.location_id, row.observed.location_id) == (200 + n, 200 + n)


def archived(row: Link, n: int) -> bool:
    return row.observed.active == (n % 2 == 0)


def closed(row: Link, _n: int) -> bool:
    return not row.observed.active


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((rename, named), (place, placed)),
        ((archive, archived), (place, placed)),
        ((take_jobcode, named), (archive, archived)),
        ((reopen, closed), (take_jobcode, named)),
    ],
    ids=lambda pair: pair[0].__name__,
)
def test_two_who_write_one_record_lose_nothing_of_each_other(
    url: str, one: tuple[Step, Seen], other: tuple[Step, Seen]
) -> None:
    db = Database(url)
    schema.upgrade(db)
    know(db, 1)
    hold(db, 1, 101, location_id=200)
    lost: list[str] = []
    meet = threading.Barrier(2, timeout=60)

    def work(step: Step, seen: Seen) -> None:
        own = Database(url)
        for n in range(1, TIMES):
            meet.wait()
            own.retrying(lambda conn, n=n: step(conn, n))  # type: ignore[misc]
            if not seen(link(own), n):
                lost.append(f"{step.__name__} {n}")
        own.close()

    workers = [threading.Thread(target=work, args=pair) for pair in (one, other)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    db.close()
    assert lost == []


def test_each_item_of_a_plan_is_moved_once(url: str) -> None:
    db = Database(url)
    schema.upgrade(db)
    state = StateBefore(name="A", parent_id=0, type="regular", assigned_to_all=True, short_code="")
    with db.begin() as conn:
        rows = [
            NewPlanItem(job_id=n, job_number="", jobcode_id=n, name="A", reason="",
                        state_before=state, outcome=Outcome.PLANNED)
            for n in range(1, 41)
        ]  # fmt: skip
        plan_items.add(conn, 1, rows)
        items = plan_items.of_run(conn, 1)
    moved: list[int] = []
    meet = threading.Barrier(2, timeout=60)

    def work(after: Outcome) -> None:
        own = Database(url)
        for item in items:
            meet.wait()
            done = own.retrying(
                lambda conn, item=item: plan_items.move(conn, [item], Outcome.PLANNED, after)  # type: ignore[misc]
            )
            moved.extend(found.item_id for found in done)
        own.close()

    workers = [
        threading.Thread(target=work, args=(after,)) for after in (Outcome.SENDING, Outcome.DROPPED)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    db.close()
    assert sorted(moved) == [item.item_id for item in items]


def test_a_run_that_moved_since_it_was_read_is_not_ended(url: str) -> None:
    db = Database(url)
    schema.upgrade(db)
    with db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, state=RunState.RECORDING)
    with db.begin() as conn:
        read = runs.existing(conn, run_id)
        assert runs.unchanged(conn, read)
    with db.begin() as conn:
        runs.progress(conn, run_id, recorded=1)
        assert not runs.unchanged(conn, read)
    db.close()
