"""A snapshot is whole or it is none: what its run says, and which rows are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.cli.snapshot import served_by
from cprqueue.domain.models import Jobcode
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning, ServiceFailed, Transient
from cprqueue.services.snapshot.snapshot import KEPT, newest_run_id
from cprqueue.store import exports, locks, runs
from cprqueue.store.database import clock
from tests.office import Office
from tests.pruning import fault


@pytest.fixture
def shops(office: Office) -> Office:
    """An account with two jobcodes and one location."""
    for name in ("Shop", "Yard"):
        office.sandbox.qbt.add_jobcode(name=name)
    office.sandbox.qbt.add_location(addr1="5 Yard Road")
    return office


def get(office: Office, run_id: int) -> Any:
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def newest(office: Office) -> Any:
    with office.app.db.read() as conn:
        return runs.newest(conn, RunKind.SNAPSHOT)


def rows(office: Office, run_id: int) -> int:
    with office.app.db.read() as conn:
        return len(exports.of_run(conn, run_id))


def ordered(office: Office) -> int:
    with office.app.db.begin() as conn:
        return runs.create(conn, RunKind.SNAPSHOT, now=clock(conn), requested_by="prune")


def take_lock(office: Office, holder: str) -> bool:
    with office.app.db.begin() as conn:
        limit = timedelta(minutes=1)
        return locks.take(conn, locks.SNAPSHOT, holder, now=clock(conn), limit=limit)


def test_a_snapshot_that_is_done_says_what_it_holds_and_who_asked(shops: Office) -> None:
    run_id = shops.app.snapshot.take(requested_by="operator")
    run = get(shops, run_id)
    assert (run.state, run.emitted, run.recorded) == (RunState.DONE, 2, 2)
    assert run.note == "2 jobcodes, 1 locations, 0 drifted"
    assert run.requested_by == "operator"
    assert run.started_at <= run.touched_at == run.finished_at
    assert rows(shops, run_id) == 3
    assert newest_run_id(shops.app.db) == run_id
    assert take_lock(shops, "next"), "the lock is released"


def test_before_the_first_snapshot_there_is_none(office: Office) -> None:
    assert newest_run_id(office.app.db) is None


def test_a_snapshot_that_was_ordered_is_taken_under_its_own_number(shops: Office) -> None:
    run_id = ordered(shops)
    assert shops.app.snapshot.take(run_id) == run_id
    assert get(shops, run_id).state == "done"


def test_an_order_that_a_newer_snapshot_serves_is_over_and_names_it(shops: Office) -> None:
    run_id = ordered(shops)
    newer = shops.app.snapshot.take()
    assert shops.app.snapshot.take(run_id) == newer
    run = get(shops, run_id)
    assert (run.state, run.note) == (
        "failed",
        f"not needed: the snapshot of run {newer} is newer",
    )
    assert run.finished_at is not None
    assert served_by(shops.app, run).run_id == newer
    assert take_lock(shops, "next"), "the lock is released"
    assert shops.app.snapshot.take(newer) == newer
    assert get(shops, newer).state == "done"


def test_an_order_that_only_older_snapshots_precede_is_carried_out(shops: Office) -> None:
    shops.app.snapshot.take()
    run_id = ordered(shops)
    assert shops.app.snapshot.take(run_id) == run_id


def test_while_another_one_is_taken_none_begins(shops: Office) -> None:
    assert take_lock(shops, "another")
    with pytest.raises(AlreadyRunning, match="another snapshot is being taken"):
        shops.app.snapshot.take()
    assert newest(shops) is None, "nothing is on record of it"


def test_a_snapshot_that_fails_holds_no_rows_and_says_why(shops: Office) -> None:
    fault(shops, kind="status", status=503, path="/locations")
    with pytest.raises(ServiceFailed) as raised:
        shops.app.snapshot.take()
    run = newest(shops)
    assert (run.state, run.note) == ("failed", str(raised.value))
    assert rows(shops, run.run_id) == 0
    assert take_lock(shops, "next"), "the lock is released"


def test_one_that_was_ordered_and_fails_in_passing_waits_for_its_next_try(shops: Office) -> None:
    run_id = ordered(shops)
    fault(shops, kind="status", status=503, path="/locations")
    with pytest.raises(Transient):
        shops.app.snapshot.take(run_id)
    assert get(shops, run_id).state == "queued"
    shops.sandbox.client.clear_faults()
    assert shops.app.snapshot.take(run_id) == run_id
    assert rows(shops, run_id) == 3


def test_one_that_is_stopped_in_the_middle_says_so_and_lets_the_next_begin(shops: Office) -> None:
    class Stop(BaseException):
        """The end of a task's time."""

    def stop(_pause: object) -> Any:
        raise Stop

    client, shops.app.snapshot.client = shops.app.snapshot.client, stop
    with pytest.raises(Stop):
        shops.app.snapshot.take()
    assert (newest(shops).state, newest(shops).note) == ("failed", "stopped in the middle")
    shops.app.snapshot.client = client
    shops.app.snapshot.take()


def test_one_that_loses_its_lock_writes_no_rows(shops: Office) -> None:
    client = shops.app.snapshot.client

    def lose(pause: Any) -> Any:
        with shops.app.db.begin() as conn:
            later = clock(conn) + timedelta(hours=1)
            assert locks.take(conn, locks.SNAPSHOT, "another", now=later, limit=timedelta(hours=1))
        return client(pause)

    shops.app.snapshot.client = lose
    with pytest.raises(AlreadyRunning, match="another snapshot is being taken"):
        shops.app.snapshot.take()
    assert rows(shops, newest(shops).run_id) == 0
    assert newest(shops).state is RunState.RUNNING, "the other one may be at this very run"
    assert not take_lock(shops, "a third"), "the other one has the lock"


def test_rows_that_a_dead_try_left_are_not_mixed_with_the_next_ones(shops: Office) -> None:
    run_id = ordered(shops)
    with shops.app.db.begin() as conn:
        exports.write(conn, run_id, exports.rows_of([Jobcode(id=4711, name="of a dead one")], []))
    shops.app.snapshot.take(run_id)
    assert rows(shops, run_id) == 3


def test_the_rows_of_the_newest_few_are_kept(shops: Office) -> None:
    taken = [shops.app.snapshot.take() for _ in range(KEPT + 1)]
    assert [rows(shops, run_id) for run_id in taken] == [0] + [3] * KEPT


def test_an_order_that_waits_for_another_snapshot_is_not_taken_for_lost(shops: Office) -> None:
    run_id = ordered(shops)
    with shops.app.db.begin() as conn:
        before = clock(conn)
        runs.change(conn, run_id, touched_at=before - timedelta(hours=1))
    assert take_lock(shops, "another")
    with pytest.raises(AlreadyRunning):
        shops.app.snapshot.take(run_id)
    assert get(shops, run_id).moved >= before
