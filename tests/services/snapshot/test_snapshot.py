"""A snapshot is complete or not at all."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from cprqueue.clients.listings import read_all
from cprqueue.domain.mapping import read_jobcode
from cprqueue.domain.states import RunKind
from cprqueue.errors import AlreadyRunning, Transient, UnreadableAnswer
from cprqueue.services.snapshot.snapshot import KEPT, newest_run_id
from cprqueue.store import exports, locks, runs
from cprqueue.store.database import clock
from cprqueue.store.tables import call_slots
from cprqueue.store.tables import locks as lock_rows
from tests.office import MakeOffice, Office
from tests.real_processes import wait_until

EVERYTHING = {"active": "both", "type": "all"}


@pytest.fixture
def office(office: Office) -> Office:
    """An account with three pages of jobcodes."""
    for number in range(450):
        office.sandbox.qbt.add_jobcode(name=f"Job {number}")
    return office


def all_ids(office: Office) -> set[int]:
    return {int(code["id"]) for code in office.sandbox.qbt.state()["jobcodes"]}


def exported(office: Office, run_id: int) -> set[int]:
    with office.app.db.read() as conn:
        return set(exports.read_back(exports.of_run(conn, run_id))[0])


def pages_read(office: Office, path: str = "/jobcodes") -> int:
    return sum(call.path == path for call in office.sandbox.calls)


def row_of(office: Office, run_id: int) -> Any:
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def state_of(office: Office, run_id: int) -> str:
    return str(row_of(office, run_id).state)


def note_of(office: Office, run_id: int) -> str:
    return str(row_of(office, run_id).note)


def test_every_jobcode_of_any_type_active_or_not_is_read_at_200_a_page(office: Office) -> None:
    qbt = office.sandbox.qbt
    qbt.add_jobcode(name="Vacation", type="pto")
    qbt.change_jobcode(min(all_ids(office)), active=False)
    qbt.add_location(addr1="Yard")
    assert exported(office, office.app.snapshot.take()) == all_ids(office)
    assert pages_read(office) == 3


@pytest.mark.parametrize("kind", ["drop", "cut", "garbled", "html", "status"])
def test_half_a_snapshot_is_never_used(office: Office, kind: str) -> None:
    before = office.app.snapshot.take()
    office.sandbox.qbt.add_jobcode(name="New")
    office.sandbox.client.set_faults([{"kind": kind, "path": "/locations"}])
    with pytest.raises(Exception, match="QuickBooks Time"):
        office.app.snapshot.take()
    office.sandbox.client.clear_faults()
    assert newest_run_id(office.app.db) == before
    assert exported(office, before + 1) == set()
    assert state_of(office, before + 1) == "failed"
    assert exported(office, office.app.snapshot.take()) == all_ids(office)


@pytest.mark.parametrize("order", ["last_modified", "random"])
def test_any_order_of_rows_gives_the_whole_export(office: Office, order: str) -> None:
    office.sandbox.qbt.switches.update({"order": order})
    for code in sorted(all_ids(office))[:7]:
        office.sandbox.qbt.advance(1)
        office.sandbox.qbt.change_jobcode(code, name=f"Renamed {code}")
    assert exported(office, office.app.snapshot.take()) == all_ids(office)


def test_rows_that_shift_between_pages_are_noticed_and_read_again(office: Office) -> None:
    qbt = office.sandbox.qbt
    qbt.switches.update({"order": "last_modified"})
    qbt.advance(5)
    ids = sorted(all_ids(office))
    qbt.change_jobcode(ids[-1], name="Was last, is newest")
    edits = [ids[10]]

    def between_pages() -> None:
        if edits:
            qbt.advance(5)
            qbt.change_jobcode(edits.pop(), name="Moved to the end: the rest moves up")

    found = read_all(office.app.qbt(), "jobcodes", read_jobcode, EVERYTHING, between_pages)
    assert {code.id for code in found} == set(ids)
    assert pages_read(office) > 3


def test_a_listing_that_never_comes_to_rest_is_refused(office: Office) -> None:
    qbt = office.sandbox.qbt
    qbt.switches.update({"order": "last_modified"})
    ids = sorted(all_ids(office))
    qbt.advance(5)
    qbt.change_jobcode(ids[-1], name="Newest")

    def between_pages() -> None:
        qbt.add_jobcode(name=f"One more {len(all_ids(office))}")
        qbt.advance(5)
        qbt.change_jobcode(ids.pop(0), name=f"Moved {len(ids)}")

    with pytest.raises(UnreadableAnswer, match="kept changing"):
        read_all(office.app.qbt(), "jobcodes", read_jobcode, EVERYTHING, between_pages)


def queued(office: Office) -> int:
    with office.app.db.begin() as conn:
        return runs.create(conn, RunKind.SNAPSHOT, now=clock(conn))


def test_a_doubled_order_of_one_that_is_done_changes_nothing(office: Office) -> None:
    run_id = office.app.snapshot.take(queued(office))
    read = pages_read(office)
    office.sandbox.client.set_faults([{"kind": "garbled", "path": "/jobcodes"}])
    assert office.app.snapshot.take(run_id) == run_id
    assert (state_of(office, run_id), pages_read(office)) == ("done", read)
    assert exported(office, run_id) == all_ids(office)


def test_a_late_order_is_served_by_a_newer_snapshot(office: Office) -> None:
    late = queued(office)
    newer = [office.app.snapshot.take() for _ in range(KEPT + 1)]
    read = pages_read(office)
    assert office.app.snapshot.take(late) == newer[-1]
    assert pages_read(office) == read
    assert state_of(office, late) == "failed"
    assert note_of(office, late) == f"not needed: the snapshot of run {newer[-1]} is newer"
    assert exported(office, newer[0]) == set(), "forgotten by now"
    assert office.app.snapshot.take(newer[0]) == newer[-1]
    assert exported(office, newer[-1]) == all_ids(office)


def test_one_that_is_done_is_found_while_another_is_being_taken(office: Office) -> None:
    run_id = office.app.snapshot.take(queued(office))
    with office.app.db.begin() as conn:
        limit = timedelta(minutes=1)
        locks.take(conn, locks.SNAPSHOT, "another", now=clock(conn), limit=limit)
    assert office.app.snapshot.take(run_id) == run_id
    with pytest.raises(AlreadyRunning):
        office.app.snapshot.take(queued(office))


# --- more pages than calls ----------------------------------------------------------------


def few_calls(make_office: MakeOffice, window: float) -> Office:
    """An installation that may call only as often as QuickBooks Time allows: rarely."""
    few = make_office(QBT_RATE_LIMIT="3", QBT_RATE_WINDOW=str(window))
    few.sandbox.qbt.switches.update({"rate_window_seconds": window})
    return few


def test_more_pages_than_the_budget_allows_are_read_window_by_window(
    office: Office, make_office: MakeOffice
) -> None:
    few = few_calls(make_office, 1)
    assert exported(few, few.app.snapshot.take()) == all_ids(office)
    assert pages_read(office) == 3, "none is read twice"
    assert [call for call in office.sandbox.calls if call.status == 429] == []
    with few.app.db.read() as conn:
        reserved = select(call_slots.c.uses).where(call_slots.c.slot_id <= few.app.budget.reserve)
        assert set(conn.execute(reserved).scalars()) == {0}


def test_while_it_waits_for_calls_it_keeps_its_lock_and_says_that_it_lives(
    office: Office, make_office: MakeOffice
) -> None:
    few = few_calls(make_office, 2.5)
    run_id = queued(few)
    thread = threading.Thread(target=few.app.snapshot.take, args=(run_id,))
    thread.start()
    wait_until(lambda: pages_read(office) == 2)
    ends = set()

    def over() -> bool:
        with few.app.db.read() as conn:
            until = select(lock_rows.c.until).where(lock_rows.c.name == locks.SNAPSHOT)
            end = conn.execute(until).scalar_one()
            run: Any = runs.get(conn, run_id)
            running = run.state == "running"
            assert not running or end > clock(conn), "a dead one would have lost it by now"
        ends.add(end)
        return not running

    wait_until(over)
    thread.join()
    assert len(ends) > 3
    assert state_of(few, run_id) == "done"


def test_a_worker_that_is_ending_does_not_wait_for_calls(
    office: Office, make_office: MakeOffice
) -> None:
    few = few_calls(make_office, 300)
    run_id = queued(few)
    with pytest.raises(Transient, match="the worker is ending"):
        few.app.snapshot.take(run_id, stop_asked=lambda: True)
    assert pages_read(office) == 2
    assert state_of(few, run_id) == "queued", "its message comes again"


def test_of_two_at_once_only_one_reads(office: Office) -> None:
    office.sandbox.client.set_faults([{"kind": "slow", "path": "/locations", "seconds": 1.5}])
    first = threading.Thread(target=office.app.snapshot.take)
    first.start()
    wait_until(lambda: pages_read(office, "/locations") or pages_read(office) >= 3)
    with pytest.raises(AlreadyRunning):
        office.app.snapshot.take()
    first.join()
    newest = newest_run_id(office.app.db)
    assert newest is not None
    assert exported(office, newest) == all_ids(office)
