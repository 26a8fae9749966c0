"""Prunes and remove-alls that are cut off, late, doubled, or beside other work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.states import RunKind
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    NeedsApproval,
    OutOfCalls,
    Transient,
)
from cprqueue.services.prune import lost_orders, orders
from cprqueue.services.reports.overview import read_status
from cprqueue.services.snapshot import drift
from cprqueue.store import runs
from cprqueue.store.database import clock
from cprqueue.store.tables import links
from cprqueue.store.tables import runs as runs_table
from tests.listening import Listener, by_the_minute
from tests.office import Office, job
from tests.pruning import (
    approve,
    close,
    during,
    fault,
    names,
    order,
    outcomes,
    remove_all,
    run_of,
    suspended,
)

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


def drifted_by(office: Office, run_id: int) -> object:
    with office.app.db.read() as conn:
        return runs.existing(conn, run_id).details["drifted"]


AT_ONCE = timedelta(seconds=-1)  # even what moved in this very millisecond


def jobs(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


def sweep(office: Office) -> list[tuple[str, dict[str, Any]]]:
    return lost_orders.find(office.app.db, quiet=AT_ONCE)


# --- the brake and the plan on record ---


def test_a_held_prune_is_told_to_people_once(office: Office) -> None:
    people = Listener(office)
    jobs(office, 100)
    close(office, *range(1, 46))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    assert office.app.prune.run(run_id, None) == f"run {run_id} is held already"
    assert people.titles() == people.titles() == ["prune held"]
    (warning,) = read_status(office.app.db, office.app.budget, by_the_minute).warnings
    assert warning.startswith(f"the prune of run {run_id} is held: `cprqueue prune show {run_id}`")


def test_a_prune_that_fails_for_good_is_told_to_people(office: Office) -> None:
    people = Listener(office)
    jobs(office, 30)
    close(office, 1)
    run_id = order(office)
    fault(office, kind="status", status=402, method="PUT", path="/jobcodes")
    with pytest.raises(AccessStopped):
        office.app.prune.run(run_id, None)
    assert run_of(office, run_id).state == "failed"
    assert people.titles() == people.titles() == ["prune failed"]
    assert people.heard[0].text.startswith(f"run {run_id}: ")


def test_a_lost_approval_is_ordered_again(office: Office) -> None:
    jobs(office, 100)
    close(office, *range(1, 46))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    assert sweep(office) == []
    orders.approve(office.app.db, run_id)
    assert sweep(office) == [("cpr.snapshot_and_prune", {"run_id": run_id, "approve": True})]
    assert office.app.prune.run(run_id, None) == f"run {run_id} is approved already"
    assert office.app.prune.approve(run_id, None) == "45 archived"


@pytest.mark.parametrize(
    ("request_order", "state"), [(order, "failed"), (remove_all, "stopped")], ids=["prune", "all"]
)
def test_what_nobody_carried_out_for_a_day_is_ended(
    office: Office, request_order: Callable[[Office], int], state: str
) -> None:
    jobs(office, 3)
    run_id = request_order(office)
    with office.app.db.begin() as conn:
        old = clock(conn) - timedelta(days=2)
        conn.execute(runs_table.update().values(created_at=old, touched_at=old))
    assert sweep(office) == []
    assert run_of(office, run_id).state == state
    carry_out = office.app.remove_all.run if state == "stopped" else office.app.prune.run
    words = (run_id,) if state == "stopped" else (run_id, None)
    assert carry_out(*words) == f"run {run_id} is {state} already"
    assert names(office, active=False) == set()


# --- one at a time ---


def test_only_one_prune_remove_all_or_undo_is_at_work(office: Office) -> None:
    jobs(office, 30)
    close(office, 1)
    run_id = order(office)
    with office.app.archive.alone(), pytest.raises(AlreadyRunning, match="at work"):
        office.app.prune.run(run_id, None)
    office.app.prune.run(run_id, None)
    undo_id = office.app.undo.request(run_id)
    with office.app.archive.alone(), pytest.raises(AlreadyRunning, match="at work"):
        office.app.undo.run(undo_id)
    office.app.undo.run(undo_id)
    removal_id = remove_all(office)
    with office.app.archive.alone(), pytest.raises(AlreadyRunning, match="at work"):
        office.app.remove_all.run(removal_id)


# --- beside the push ---


def test_a_job_that_is_reopened_while_it_is_archived_comes_back(office: Office) -> None:
    jobs(office, 30)
    close(office, 1)
    run_id = order(office)
    said: list[str] = []

    def reopen() -> None:
        office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="9 New Road")])
        office.fetch()
        said.append(office.ring().text)

    during(office, "sending", reopen)
    office.app.prune.run(run_id, None)
    assert said == ["nothing due"]  # the archive has the job under its lease
    office.push()
    assert office.broken() == []
    assert office.counts()["in_sync"] == 30


def test_a_job_that_a_push_has_under_way_is_archived_after_it(office: Office) -> None:
    jobs(office, 30)
    run_id = remove_all(office)
    lease = {"lease": "another worker", "lease_until": None}
    with office.app.db.begin() as conn:
        until = clock(conn) + timedelta(minutes=5)
        conn.execute(
            links.update().where(links.c.job_id == 1).values(**{**lease, "lease_until": until})
        )
    with pytest.raises(Transient, match="1 left"):
        office.app.remove_all.run(run_id)
    assert names(office, active=True) == {"A-1"}
    with office.app.db.begin() as conn:
        conn.execute(links.update().values(lease=None, lease_until=None))
    assert office.app.remove_all.run(run_id) == "30 archived"


def test_a_snapshot_from_before_a_remove_all_does_not_hide_what_it_archived(
    office: Office,
) -> None:
    jobs(office, 60)
    run_id = remove_all(office)
    before = office.app.snapshot.take()
    office.app.remove_all.run(run_id)
    assert drift.find(office.app.db, before) == []
    office.app.fetch.request(complete=True, requested_by="operator")
    office.fetch()
    office.push()
    assert office.broken() == []


def test_drift_sees_a_job_in_step_whose_own_record_says_that_it_is_archived(
    office: Office,
) -> None:
    jobs(office, 3)
    code = office.link(1).jobcode_id
    office.sandbox.qbt.change_jobcode(code, active=False)
    held = replace(office.link(1).observed, active=False).to_json()
    with office.app.db.begin() as conn:
        conn.execute(links.update().where(links.c.job_id == 1).values(observed=held))
    assert drifted_by(office, office.app.snapshot.take()) == 1
    office.push()
    assert office.broken() == []


def test_drift_is_not_blind_to_a_job_whose_archiver_died(office: Office) -> None:
    jobs(office, 3)
    with office.app.db.begin() as conn:
        past = clock(conn) - timedelta(seconds=1)
        conn.execute(links.update().values(lease="of a dead one", lease_until=past))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    assert drifted_by(office, office.app.snapshot.take()) == 1
    office.push()
    assert office.broken() == []


def test_what_was_not_sent_for_want_of_calls_is_planned_again(office: Office) -> None:
    jobs(office, 30)
    run_id = remove_all(office)

    def use_up() -> None:
        raise OutOfCalls("out of calls", 30)

    during(office, "sending", use_up)
    with pytest.raises(OutOfCalls):
        office.app.remove_all.run(run_id)
    assert outcomes(office, run_id) == {"planned": 30}


def test_an_undo_while_a_prune_plans_ends_it(office: Office) -> None:
    jobs(office, 100)
    close(office, *range(1, 46))
    run_id = order(office)
    people = Listener(office)
    real = office.app.prune.qbt.on_the_clock
    request: list[int] = []

    def undone(*args: Any, **kwargs: Any) -> Any:
        request.append(office.app.undo.request(run_id))
        return real(*args, **kwargs)

    office.app.prune.qbt.on_the_clock = undone  # type: ignore[method-assign]
    assert office.app.prune.run(run_id, None) == f"run {run_id} is done already"
    assert (people.titles(), outcomes(office, run_id)) == ([], {})


def test_a_month_that_waits_for_a_slow_snapshot_is_not_too_old(office: Office) -> None:
    jobs(office, 3)
    run_id = order(office)
    made = orders.prune(office.app.db, run_id, "UTC", quiet=AT_ONCE)
    assert made is not None
    with office.app.db.begin() as conn:
        old = clock(conn) - timedelta(days=3)
        conn.execute(runs_table.update().values(created_at=old, touched_at=old))
    office.app.snapshot.take(made.snapshot_id)
    assert sweep(office) == [("cpr.snapshot_and_prune", {"run_id": run_id})]


# --- remove-all, undone or overtaken ---


def test_a_remove_all_that_was_undone_before_it_began_archives_nothing(office: Office) -> None:
    jobs(office, 60)
    run_id = remove_all(office)
    office.app.undo.run(office.app.undo.request(run_id))
    assert sweep(office) == []
    assert office.app.remove_all.run(run_id) == f"run {run_id} is done already"
    assert names(office, active=False) == set()
    assert not suspended(office)


def test_a_remove_all_that_was_undone_in_the_middle_does_not_go_on(office: Office) -> None:
    jobs(office, 120)
    run_id = remove_all(office)
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", nth=[2])
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    office.sandbox.client.clear_faults()
    undone = office.app.undo.run(office.app.undo.request(run_id))
    assert (undone.restored, undone.lost) == (100, [])  # 50 of them were only asked about
    assert sweep(office) == []
    assert office.app.remove_all.run(run_id) == f"run {run_id} is done already"
    assert outcomes(office, run_id) == {"restored": 100, "dropped": 20}
    office.push()
    assert office.broken() == []


def test_a_remove_all_stops_when_a_full_sync_brings_the_jobs_back(office: Office) -> None:
    jobs(office, 120)
    run_id = remove_all(office)
    full = lambda: office.app.fetch.request(complete=True, requested_by="operator")  # noqa: E731
    during(office, "sending", full)
    assert office.app.remove_all.run(run_id) == "50 archived"
    assert run_of(office, run_id).note == "stopped: 50 archived, 70 left"
    assert not suspended(office)
    office.fetch()
    office.push()
    assert office.broken() == []


def test_a_prune_that_failed_and_was_undone_is_not_taken_up_again(office: Office) -> None:
    jobs(office, 400)
    close(office, *range(1, 51), *range(51, 81))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    fault(office, kind="status", status=402, method="PUT", path="/jobcodes", nth=[2])
    with pytest.raises(AccessStopped):
        approve(office, run_id)
    office.sandbox.client.clear_faults()
    office.app.undo.run(office.app.undo.request(run_id))
    assert run_of(office, run_id).state == "done"
    assert orders.prune(office.app.db, run_id, "UTC", quiet=AT_ONCE) is None
    assert office.app.prune.run(run_id, None) == f"run {run_id} is done already"
    assert names(office, active=False) == set()


def test_an_undo_waits_for_the_step_that_is_under_way(office: Office) -> None:
    jobs(office, 60)
    run_id = remove_all(office)
    waiting: list[str] = []

    def undo() -> None:
        request = office.app.undo.request(run_id)
        try:
            office.app.undo.run(request)
        except AlreadyRunning as error:
            waiting.append(str(error))

    during(office, "sending", undo)
    assert office.app.remove_all.run(run_id) == f"run {run_id} is done already"
    assert outcomes(office, run_id) == {"archived": 50, "dropped": 10}
    assert len(waiting) == 1
    undone = office.app.undo.run(office.app.undo.request(run_id))
    assert (undone.restored, undone.lost) == (50, [])
    office.push()
    assert office.broken() == []
    with office.app.db.read() as conn:
        assert len(runs.newest_few(conn, RunKind.UNDO, limit=9)) == 1  # the same one went on
