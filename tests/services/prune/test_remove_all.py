"""A remove-all takes what was counted, no more, and stops when it is alerts to."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning, Transient, UsageError
from cprqueue.services.prune.remove_all import phrase
from cprqueue.store import plan_items, runs
from tests.listening import Listener
from tests.office import Office, job
from tests.pruning import during, fault, names, outcomes, remove_all, run_of, suspended


@pytest.fixture
def three(office: Office) -> Office:
    """Three jobs in step."""
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    return office


def items(office: Office, run_id: int) -> list[Any]:
    with office.app.db.read() as conn:
        return plan_items.of_run(conn, run_id)


def rehearse(office: Office, *, include_unmanaged: bool = False) -> Any:
    snapshot = office.app.snapshot.take()
    return office.app.remove_all.rehearse(snapshot, include_unmanaged=include_unmanaged)


def test_a_rehearsal_counts_what_it_would_take_and_what_that_costs(three: Office) -> None:
    qbt = three.sandbox.qbt
    shop = qbt.add_jobcode(name="Shop", assigned_to_all=True)
    qbt.add_jobcode(name="Vacation", type="pto")
    qbt.change_jobcode(qbt.add_jobcode(name="Old"), active=False)
    qbt.clock_in(shop)
    managed = rehearse(three)
    assert (managed.managed, managed.unmanaged, managed.leaving) == (3, 2, 3)
    assert (managed.phrase, managed.on_the_clock, managed.calls) == ("REMOVE MANAGED 3", (), 2)
    assert managed.minutes == 0, "all of the calls are free"
    everything = rehearse(three, include_unmanaged=True)
    assert (everything.leaving, everything.phrase) == (4, "REMOVE ALL 4")
    assert everything.on_the_clock == ("Shop",)


def test_a_parent_whose_child_would_leave_unasked_stays(three: Office) -> None:
    three.sandbox.qbt.add_jobcode(name="Phase 1", parent_id=three.link(1).jobcode_id)
    assert rehearse(three).leaving == 2
    run_id = remove_all(three, include_unmanaged=True)
    assert [item.name for item in items(three, run_id)] == ["Phase 1", "A-1", "A-2", "A-3"]


def test_the_plan_names_each_job_and_is_on_record_before_anything_leaves(three: Office) -> None:
    three.sandbox.qbt.add_jobcode(name="Shop")
    run_id = remove_all(three, include_unmanaged=True)
    found = {item.name: (item.job_id, item.job_number) for item in items(three, run_id)}
    assert found == {"A-1": (1, "A-1"), "A-2": (2, "A-2"), "A-3": (3, "A-3"), "Shop": (None, "")}
    run = run_of(three, run_id)
    assert (run.state, run.emitted, run.requested_by) == ("queued", 4, "REMOVE ALL 4")
    assert suspended(three)
    assert names(three, active=False) == set()


def test_people_who_are_assigned_singly_are_remembered(three: Office) -> None:
    qbt = three.sandbox.qbt
    shop = qbt.add_jobcode(name="Shop")
    user = qbt.add_user(first_name="Ann")
    three.app.remove_all.qbt.assign([{"user_id": user, "jobcode_id": shop}])
    run_id = remove_all(three, include_unmanaged=True)
    people = {item.name: item.state_before.assignees for item in items(three, run_id)}
    assert people == {"A-1": [], "A-2": [], "A-3": [], "Shop": [user]}


@pytest.mark.parametrize("typed", ["REMOVE MANAGED 2", "REMOVE ALL 3", "remove managed 3", ""])
def test_any_other_phrase_orders_nothing(three: Office, typed: str) -> None:
    snapshot = three.app.snapshot.take()
    with pytest.raises(UsageError, match="type 'REMOVE MANAGED 3'"):
        three.app.remove_all.request(snapshot, typed, include_unmanaged=False)
    assert not suspended(three)


def test_where_there_is_nothing_to_remove_nothing_is_ordered(office: Office) -> None:
    snapshot = office.app.snapshot.take()
    with pytest.raises(UsageError, match="nothing to remove"):
        office.app.remove_all.request(snapshot, "REMOVE MANAGED 0", include_unmanaged=False)


def test_one_that_is_done_is_one_alert_with_the_number(three: Office) -> None:
    people = Listener(three)
    run_id = remove_all(three)
    assert three.app.remove_all.run(run_id) == "3 archived"
    run = run_of(three, run_id)
    assert (run.state, run.note, run.recorded) == ("done", "3 archived", 3)
    assert run.started_at <= run.finished_at
    assert people.titles() == ["remove-all"]
    assert people.heard[0].text.startswith(f"run {run_id}: 3 archived. ")
    assert three.app.remove_all.run(run_id) == f"run {run_id} is done already"
    assert people.titles() == ["remove-all"]


def test_a_run_that_is_no_remove_all_is_refused_by_name(three: Office) -> None:
    for run_id in (three.app.snapshot.take(), 4711):
        with pytest.raises(UsageError, match=f"run {run_id} is no remove-all"):
            three.app.remove_all.run(run_id)


def test_one_that_is_stopped_says_what_is_left_and_is_resumed_by_the_same_phrase(
    three: Office,
) -> None:
    people = Listener(three)
    run_id = remove_all(three)
    three.app.remove_all.stop(run_id)
    assert run_of(three, run_id).state == RunState.STOPPING
    three.app.remove_all.run(run_id)
    run = run_of(three, run_id)
    assert (run.state, run.note, run.recorded) == (
        RunState.STOPPED,
        "stopped: 0 archived, 3 left",
        0,
    )
    assert people.titles() == ["remove-all"]
    assert people.heard[0].text.startswith(f"run {run_id}: stopped: 0 archived, 3 left. ")
    assert three.app.remove_all.resumable("REMOVE MANAGED 2") is None
    assert three.app.remove_all.resumable(phrase(3, include_unmanaged=False)) == run_id
    assert run_of(three, run_id).state == "queued"
    assert three.app.remove_all.run(run_id) == "3 archived"


def test_without_any_remove_all_there_is_none_to_resume(three: Office) -> None:
    assert three.app.remove_all.resumable("REMOVE MANAGED 3") is None


def test_one_that_is_over_cannot_be_stopped_nor_resumed(three: Office) -> None:
    run_id = remove_all(three)
    three.app.remove_all.run(run_id)
    three.app.remove_all.stop(run_id)
    assert run_of(three, run_id).state == "done"
    assert three.app.remove_all.resumable("REMOVE MANAGED 3") is None


def test_a_full_sync_ends_it_for_good(three: Office) -> None:
    run_id = remove_all(three)
    three.app.fetch.request(complete=True, requested_by="operator")
    with pytest.raises(AlreadyRunning, match="is queued"):  # until its message ends it
        three.app.remove_all.resumable("REMOVE MANAGED 3")
    assert three.app.remove_all.run(run_id) == "0 archived"
    assert three.app.remove_all.resumable("REMOVE MANAGED 3") is None
    assert run_of(three, run_id).state == RunState.STOPPED
    assert outcomes(three, run_id) == {"planned": 3}


def test_one_that_an_undo_ends_meanwhile_says_so_without_an_alert(three: Office) -> None:
    people = Listener(three)
    run_id = remove_all(three)
    during(three, "sending", lambda: three.app.undo.request(run_id))
    assert three.app.remove_all.run(run_id) == f"run {run_id} is done already"
    assert people.titles() == []


def test_one_that_is_interrupted_is_resumed(three: Office) -> None:
    run_id = remove_all(three)
    fault(three, kind="drop", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        three.app.remove_all.run(run_id)
    assert run_of(three, run_id).state == "running"
    with three.app.db.read() as conn:
        assert runs.newest(conn, RunKind.REMOVE_ALL, RunState.RUNNING) is not None
    assert three.app.remove_all.run(run_id) == "3 archived"
