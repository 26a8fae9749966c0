"""Plans: what is held and by what, before and after; what was decided, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import NeedsApproval
from cprqueue.services import push_brake
from cprqueue.services.board import plans
from cprqueue.services.board.plans import Plan
from cprqueue.services.prune import orders
from cprqueue.services.record import record
from cprqueue.store import events, runs, sightings
from cprqueue.store.database import clock
from tests.office import MakeOffice, Office, job
from tests.pruning import approve, close, order, prune

NUMBER = 4


def hold_pushes(office: Office) -> int:
    """Have a fetch rename every job of an office whose brake takes none; return its run."""
    office.put(*(job(n, f"A-{n}") for n in range(1, NUMBER + 1)))
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, state=RunState.RECORDING)
        runs.change(conn, run_id, observed_at=clock(conn), detail={push_brake.BRAKED: True})
        number, moment = sightings.next_number(conn), clock(conn)
    seen = Sighting(run_id=run_id, number=number, complete=False, observed_at=moment, braked=True)
    for n in range(1, NUMBER + 1):
        record(office.app.db, office.app.rules, read_job(job(n, f"NEW-{n}", jobZip="83799")), seen)
    with office.app.db.begin() as conn:
        runs.finish(conn, run_id, RunState.DONE)
    office.app.fetch.close()
    assert office.counts()["held"] == NUMBER
    return run_id


@pytest.fixture
def tight(make_office: MakeOffice) -> Office:
    """An office whose brakes hold nearly everything."""
    return make_office(PUSH_MIN_LIMIT="1", PUSH_MAX_FRACTION="0.01", PRUNE_MIN_LIMIT="1",
                       PRUNE_MAX_FRACTION="0.01", PRUNE_QUIET_DAYS="0")  # fmt: skip


def read(office: Office, run_id: int) -> Plan:
    found = plans.read(office.app.db, run_id)
    assert found is not None
    return found


def history(office: Office, job_id: int) -> list[str]:
    with office.app.db.read() as conn:
        return [event.text for event in events.of_job(conn, job_id)]


def test_a_held_push_shows_before_and_after(tight: Office) -> None:
    run_id = hold_pushes(tight)
    [waiting] = plans.read_all(tight.app.db).pushes
    assert (waiting.run.run_id, waiting.number) == (run_id, NUMBER)
    assert waiting.text.endswith("nothing of it is written before a person decides")
    plan = read(tight, run_id)
    assert (plan.total, set(plan.may)) == (NUMBER, {"approve", "dismiss"})
    first = {each.field: (each.observed, each.desired) for each in plan.rows[0].changes}
    assert first == {"name": ("A-1", "NEW-1"), "zip": ("83702", "83799")}


@pytest.mark.parametrize("outcome", ["approved", "dismissed"])
def test_a_decision_is_past_and_names_the_person(tight: Office, outcome: str) -> None:
    run_id = hold_pushes(tight)
    decide = push_brake.approve if outcome == "approved" else push_brake.dismiss
    decide(tight.app.db, run_id, requested_by="ann")
    found = plans.read_all(tight.app.db)
    assert found.pushes == []
    [past] = [each for each in found.past if each.run.run_id == run_id]
    assert past.decision is not None
    assert (past.decision.outcome, past.decision.by, past.decision.jobs) == (outcome, "ann", NUMBER)
    assert history(tight, 1)[-1] == f"{outcome} by ann"
    plan = read(tight, run_id)
    assert (plan.total, plan.may, plan.decision) == (0, frozenset(), past.decision)


def hold_a_prune(office: Office) -> int:
    office.put(*(job(n, f"A-{n}") for n in range(1, NUMBER + 1)))
    close(office, 1, 2)
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    return run_id


def test_a_held_prune_shows_what_would_leave_and_why(tight: Office) -> None:
    run_id = hold_a_prune(tight)
    [waiting] = plans.read_all(tight.app.db).prunes
    assert (waiting.run.run_id, waiting.number) == (run_id, 2)
    plan = read(tight, run_id)
    assert [row.label for row in plan.rows] == ["A-1", "A-2"]
    assert plan.may == {"approve", "dismiss"}
    told: Any = [(each.field, each.observed, each.desired) for each in plan.rows[0].changes]
    assert told == [
        ("jobcode", "A-1, at 1 Main Street, Boise, ID, 83702", "archived"),
    ]
    assert "RM_INACTIVE_PROGRESS" in plan.rows[0].why


def test_of_two_who_approve_a_prune_one_is_told_so(tight: Office) -> None:
    run_id = hold_a_prune(tight)
    assert orders.approve(tight.app.db, run_id, requested_by="ann") is True
    assert orders.approve(tight.app.db, run_id, requested_by="bob") is False
    assert history(tight, 1)[-1] == f"approval of the prune of run {run_id}, ordered by ann"
    live = plans.read_all(tight.app.db).live
    assert live is not None
    assert live.run_id == run_id


def test_an_undo_names_what_it_could_not_bring_back_and_who_ordered_it(tight: Office) -> None:
    run_id = hold_a_prune(tight)
    approve(tight, run_id)
    assert read(tight, run_id).may == {"undo"}
    # Somebody has given the name to a new jobcode since.
    tight.sandbox.qbt.add_jobcode(name="A-1")
    undo_id = tight.app.undo.request(run_id, requested_by="ann")
    tight.app.undo.run(undo_id)
    plan = read(tight, undo_id)
    assert plan.of_run == run_id
    assert [row.label for row in plan.rows] == ["A-2"]
    assert [name for name, _ in plan.lost] == ["A-1"]
    assert f"undo of run {run_id}, ordered by ann" in history(tight, 2)
    assert read(tight, run_id).undone_by == [undo_id]
    assert read(tight, run_id).may == {"undo"}  # A-1 is still archived


def test_a_long_plan_is_shown_in_part(tight: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = hold_pushes(tight)
    monkeypatch.setattr(plans, "ROWS", 3)
    plan = read(tight, run_id)
    assert (len(plan.rows), plan.total) == (3, NUMBER)


@pytest.mark.settings(PRUNE_QUIET_DAYS="0")
def test_past_plans_come_by_the_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, NUMBER + 1)))
    done = []
    for n in (1, 2, 3):
        close(office, n)
        done.append(prune(office)[0])
    monkeypatch.setattr(plans, "PAST", 2)
    first = plans.read_all(office.app.db)
    assert [each.run.run_id for each in first.past] == [done[2], done[1]]
    second = plans.read_all(office.app.db, before=first.more)
    assert [each.run.run_id for each in second.past] == [done[0]]
    assert second.more is None


@pytest.mark.parametrize("run_id", [0, 1, 2**40])
def test_what_is_no_plan_is_none(office: Office, run_id: int) -> None:
    office.put(job(1, "A-1"))
    assert plans.read(office.app.db, run_id) is None
