"""One change after another, in RM and by hand: what is planned is done, call by call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import update

from cprqueue.domain.states import ErrorCode, LinkState
from cprqueue.domain.sync_plan import PlannedJob
from cprqueue.services.plan.plan import Made
from cprqueue.store.database import clock
from cprqueue.store.tables import links
from cprqueue.store.tables import runs as runs_table
from tests.office import Office, job

CLOSED = {"jobProgress": "Lost Lead"}
NOWHERE = dict.fromkeys(("jobAddress1", "jobCity", "jobStateCd", "jobZip"), "")


def quiet(_text: str) -> None: ...


def plan(office: Office) -> Made:
    return office.app.planner.make(quiet)


def actions(made: Made) -> dict[str, str]:
    return {j.job_number: " ".join(j.actions) for j in made.plan.jobs if j.actions}


def of(made: Made, number: str) -> PlannedJob:
    return next(job for job in made.plan.jobs if job.job_number == number)


def do(office: Office, *jobs: dict[str, Any], snapshot: bool = False) -> dict[str, str]:
    """Change RM, plan, sync; return what was planned, once it is what was done, call by call."""
    office.sandbox.rm.put_jobs(jobs)
    made = plan(office)
    if snapshot:
        office.app.snapshot.take()
    office.sandbox.client.reset_calls()
    office.fetch()
    office.push()
    calls = [call for call in office.sandbox.calls if call.service == "qbt"]
    assert made.calls == len(calls), (made.plan.calls, calls)
    assert not [n for n in actions(plan(office)).values() if n != "park"], "nothing is left to do"
    return actions(made)


def test_each_change_is_planned_as_it_is_done(office: Office) -> None:
    hand = office.sandbox.qbt
    hand.add_jobcode(name="a-1", assigned_to_all=False)
    hand.add_jobcode(name="Shop", assigned_to_all=True)
    office.sandbox.rm.put_jobs([job(9, "Z-9", **CLOSED)])
    first = [job(n, f"A-{n}") for n in range(1, 60)]
    done = do(office, *first, job(100, "A-60", **NOWHERE), job(101, "a-2"))
    assert (done["A-1"], done["A-2"]) == ("adopt rename set_address", "create set_address")
    assert (done["A-60"], done["a-2"], "Z-9" in done) == ("create", "park", False)
    assert do(office) == {"a-2": "park"}
    # a number is handed on: its holder closes, a parked one and a new one follow
    done = do(office, job(2, "A-2", **CLOSED), job(3, "A-3", **CLOSED), job(102, "A-3"))
    assert done == {"a-2": "adopt rename change_address", "A-3": "adopt change_address"}
    # two swap their numbers, one reopens under another, one moves away, one is emptied
    swap = [job(4, "A-5"), job(5, "A-4"), job(2, "R-2"), job(6, "A-6", jobZip="1"), job(7, "A-7")]
    done = do(office, *swap[:-1], job(7, "A-7", **NOWHERE))
    assert done == {
        "A-5": "rename",
        "A-4": "rename",
        "R-2": "create set_address",
        "A-6": "change_address",
        "A-7": "remove_address",
    }
    # a name that is somebody else's, and one that is too long
    assert do(office, job(8, "Shop"), job(10, "X" * 65)) == {"Shop": "park", "X" * 65: "park"}
    made = plan(office)
    assert "refuses to change a jobcode" in of(made, "Shop").reason
    assert (made.plan.unclaimed, made.calls) == (("Shop",), 0)


def test_what_people_did_by_hand_is_planned_as_it_is_set_back(office: Office) -> None:
    hand = office.sandbox.qbt
    do(office, *(job(n, f"A-{n}") for n in range(1, 6)))
    codes = {code["name"]: code["id"] for code in hand.state()["jobcodes"]}
    hand.change_jobcode(codes["A-1"], name="by hand")
    hand.change_jobcode(codes["A-2"], active=False)
    hand.change_jobcode(codes["A-3"], assigned_to_all=False)
    hand.add_location(addr1="5 Elm", linked_objects={"jobcodes": [codes["A-4"]]})
    found = do(office, snapshot=True)
    assert found == {
        "A-1": "rename",
        "A-2": "restore",
        "A-3": "restore",
        "A-4": "remove_address",
    }


def test_an_old_snapshot_is_not_written_by_without_reading_back(office: Office) -> None:
    hand = office.sandbox.qbt
    do(office, job(1, "A-1"))
    one, two = (hand.add_jobcode(name=name, assigned_to_all=True) for name in ("B-1", "B-2"))
    hand.add_location(addr1="1 Shared", linked_objects={"jobcodes": [one, two]})
    office.app.snapshot.take()
    with office.app.db.begin() as conn:
        past = clock(conn) - timedelta(hours=2)
        conn.execute(update(runs_table).values(started_at=past))
    found = do(office, job(2, "B-1"), job(3, "B-2"), job(4, "C-1"))
    shared = "adopt set_address remove_address"
    assert found == {"B-1": shared, "B-2": shared, "C-1": "create set_address"}
    assert office.broken() == []


def test_a_job_that_two_complete_fetches_lack_is_left(office: Office) -> None:
    do(office, job(1, "A-1"), job(2, "A-2"))
    office.sandbox.rm.delete_jobs([2])
    assert "once the next one lacks it too" in of(plan(office), "A-2").reason
    office.fetch()
    found = plan(office)
    assert (actions(found), found.calls) == ({}, 0)
    assert of(found, "A-2").reason.startswith("inactive: vanished")
    # a new job with its number takes its jobcode over
    office.sandbox.rm.put_jobs([job(3, "A-2")])
    assert actions(plan(office)) == {"A-2": "adopt change_address"}


def test_what_the_brake_holds_or_would_hold_is_said(office: Office) -> None:
    jobs = [job(n, f"A-{n}") for n in range(1, 31)]
    do(office, *jobs)
    moved = [item | {"jobZip": "1"} for item in jobs]
    office.sandbox.rm.put_jobs(moved[:20])
    assert not plan(office).held
    office.sandbox.rm.put_jobs(moved)
    made = plan(office)
    assert (made.held, made.plan.counts["change_address"]) == (True, 30)
    assert "it would change 30 of 30 jobcodes (the limit is 20)" in made.notes[0]
    with office.app.db.begin() as conn:
        held = {"state": LinkState.HELD, "error_code": ErrorCode.HELD, "error_reason": "run 7"}
        conn.execute(update(links).values(**held))
    assert actions(plan(office)) == {}
    assert of(plan(office), "A-1").reason == "run 7"
    office.sandbox.rm.put_jobs([job(1, "A-1", jobName="x"), job(2, "A-2", jobZip="2")])
    assert actions(plan(office)) == {}
