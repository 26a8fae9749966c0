"""What becomes of a prune that may not go on, and what is said of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import NeedsApproval, Permanent, Transient, UsageError
from cprqueue.services.prune import orders
from cprqueue.services.prune.prune import outcome_text
from cprqueue.store import plan_items, runs
from cprqueue.store.database import clock
from tests.listening import Listener
from tests.office import Office, job
from tests.pruning import approve, close, during, fault, names, order, outcomes, run_of


def jobs(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


@pytest.fixture
def held(office: Office) -> int:
    """A prune that the brake holds: eleven of twelve jobs are closed."""
    jobs(office, 12)
    close(office, *range(1, 12))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    return run_id


def noted(office: Office, run_id: int) -> dict[str, Any]:
    """Return what is noted of each job of a plan."""
    with office.app.db.read() as conn:
        return {item.job_number: item.note for item in plan_items.of_run(conn, run_id)}


def a_fetch(office: Office, state: RunState) -> None:
    """Have a complete fetch in this state, newer than all others."""
    with office.app.db.begin() as conn:
        runs.create(conn, RunKind.FETCH, now=clock(conn), state=state, complete=True)


def test_an_approval_that_may_not_be_carried_out_holds_the_run_again(
    office: Office, held: int
) -> None:
    a_fetch(office, RunState.FAILED)
    with pytest.raises(Permanent) as raised:
        approve(office, held)
    run = run_of(office, held)
    assert run.state == "held"
    assert run.note == f"not approved: {raised.value}. {orders.how_to_approve(held)}"
    assert names(office, active=False) == set()


def test_an_approval_that_has_to_wait_stays_approved(office: Office, held: int) -> None:
    a_fetch(office, RunState.RUNNING)
    with pytest.raises(Transient):
        approve(office, held)
    assert run_of(office, held).state == RunState.APPROVED


def test_an_approved_prune_archives_and_says_how_many(office: Office, held: int) -> None:
    assert approve(office, held) == "11 archived"
    run = run_of(office, held)
    assert (run.state, run.note, run.recorded) == ("done", "11 archived", 11)
    assert names(office, active=True) == {"A-12"}


def test_a_held_prune_is_one_alert_with_the_number_and_how_to_approve(office: Office) -> None:
    people = Listener(office)
    jobs(office, 12)
    close(office, *range(1, 12))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    run = run_of(office, run_id)
    assert people.titles() == ["prune held"]
    assert people.heard[0].text == run.note
    assert f"cprqueue prune approve {run_id}" in run.note
    assert (run.state, run.emitted) == ("held", 11)
    assert outcomes(office, run_id) == {"planned": 11}


@pytest.mark.parametrize("kind", ["snapshot", None], ids=["another kind", "unknown"])
def test_a_run_that_is_no_prune_is_refused_by_name(office: Office, kind: str | None) -> None:
    jobs(office, 1)
    run_id = office.app.snapshot.take() if kind else 4711
    with pytest.raises(UsageError, match=f"run {run_id} is no prune"):
        office.app.prune.run(run_id, None)


def test_a_prune_that_is_done_is_not_done_again(office: Office) -> None:
    jobs(office, 3)
    close(office, 1)
    run_id = order(office)
    assert office.app.prune.run(run_id, None) == "1 archived"
    close(office, 2)
    assert office.app.prune.run(run_id, None) == f"run {run_id} is done already"
    assert names(office, active=False) == {"A-1"}


def test_a_prune_that_is_interrupted_stays_at_work_and_says_why(office: Office) -> None:
    people = Listener(office)
    jobs(office, 3)
    close(office, 1)
    run_id = order(office)
    fault(office, kind="drop", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient) as raised:
        office.app.prune.run(run_id, None)
    run = run_of(office, run_id)
    assert (run.state, run.note, run.finished_at) == ("running", str(raised.value), None)
    assert people.titles() == [], "nobody need do anything"
    assert office.app.prune.run(run_id, None) == "1 archived"


def test_a_prune_without_a_usable_fetch_fails_with_an_alert_that_says_why(office: Office) -> None:
    people = Listener(office)
    jobs(office, 3)
    close(office, 1)
    run_id = order(office)
    a_fetch(office, RunState.FAILED)
    with pytest.raises(Permanent) as raised:
        office.app.prune.run(run_id, None)
    run = run_of(office, run_id)
    assert (run.state, run.note) == ("failed", str(raised.value))
    assert run.finished_at is not None
    assert people.titles() == ["prune failed"]
    assert people.heard[0].text.startswith(f"run {run_id}: {raised.value}. ")


def test_a_jobcode_that_another_job_takes_over_meanwhile_stays(office: Office) -> None:
    jobs(office, 3)
    close(office, 1, 2)
    run_id = order(office)
    during(office, "clocked", lambda: office.put(job(501, "A-1")))
    assert office.app.prune.run(run_id, None) == "1 archived, 1 dropped"
    assert noted(office, run_id)["A-1"] == "the jobcode belongs to another job now"
    assert names(office, active=False) == {"A-2"}


def test_a_prune_that_an_undo_ends_while_it_archives_says_so(office: Office) -> None:
    jobs(office, 3)
    close(office, 1)
    run_id = order(office)
    during(office, "sending", lambda: office.app.undo.request(run_id))
    assert office.app.prune.run(run_id, None) == f"run {run_id} is done already"
    assert run_of(office, run_id).note.startswith("ended by the undo of run ")


def test_an_export_of_more_than_a_day_plans_nothing(office: Office) -> None:
    jobs(office, 3)
    close(office, 1)
    run_id = order(office)
    with office.app.db.begin() as conn:
        newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
        assert newest is not None
        old = clock(conn) - timedelta(hours=24, seconds=5)
        runs.change(conn, newest.run_id, started_at=old)
    with pytest.raises(Permanent, match="older than 24 hours"):
        office.app.prune.run(run_id, None)


def test_an_export_that_is_older_than_the_one_that_was_ordered_plans_nothing(
    office: Office,
) -> None:
    jobs(office, 3)
    run_id = order(office)
    with pytest.raises(Permanent, match="there is no complete export"):
        office.app.prune.run(run_id, 4711)


def test_what_came_of_a_plan_is_said_without_what_did_not_happen() -> None:
    assert outcome_text({}) == "0 archived"
    assert outcome_text({Outcome.ARCHIVED: 3, Outcome.PLANNED: 9}) == "3 archived"
    everything = {
        Outcome.FAILED: 4, Outcome.DROPPED: 3, Outcome.HELD_BACK: 2, Outcome.ARCHIVED: 1,
    }  # fmt: skip
    assert outcome_text(everything) == "1 archived, 2 held back, 3 dropped, 4 failed"
