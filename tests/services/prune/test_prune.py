"""Finished jobs leave; nothing else ever does; anything can be brought back."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import NeedsApproval, Permanent, Transient, UsageError
from cprqueue.services.prune.remove_all import phrase
from cprqueue.services.snapshot import drift
from cprqueue.services.snapshot.snapshot import KEPT
from cprqueue.store import exports, plan_items, runs
from tests.office import Office, job
from tests.pruning import (
    CLOSED,
    approve,
    close,
    comparable,
    during,
    names,
    order,
    prune,
    remove_all,
)

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


def test_a_prune_whose_snapshot_was_superseded_plans_from_a_newer_one(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 9)))
    close(office, 1, 2, 3)
    run_id = order(office)
    with office.app.db.read() as conn:
        mine = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    assert mine is not None
    for _ in range(KEPT + 1):  # so many that the rows of the first are gone
        office.app.snapshot.take()
    assert office.app.prune.run(run_id, mine.run_id) == "3 archived"
    assert names(office, active=False) == {"A-1", "A-2", "A-3"}


def test_an_export_whose_rows_are_gone_is_never_taken_for_an_empty_one(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    run_id = office.app.snapshot.take()
    with office.app.db.begin() as conn:
        exports.forget(conn, [run_id])
    for read in (
        lambda: office.app.prune.facts(run_id),
        lambda: drift.find(office.app.db, run_id),
        lambda: office.app.remove_all.rehearse(run_id, include_unmanaged=False),
    ):
        with pytest.raises(Transient, match=f"the rows of export {run_id} are not whole"):
            read()
    assert office.broken() == []


def test_exactly_the_closed_jobs_leave(office: Office) -> None:
    qbt = office.sandbox.qbt
    office.put(*(job(n, f"A-{n}") for n in range(1, 201)))
    for name in ("Shop", "Yard", "Training"):
        qbt.add_jobcode(name=name)
    qbt.add_jobcode(name="Vacation", type="pto")
    parent = next(c["id"] for c in qbt.state()["jobcodes"] if c["name"] == "A-6")
    qbt.add_jobcode(name="Phase 1", parent_id=parent)
    close(office, 1, 2, 3, 4, 5, 6)
    run_id, text = prune(office)
    assert text == "5 archived, 1 held back"
    assert names(office, active=False) == {"A-1", "A-2", "A-3", "A-4", "A-5"}
    with office.app.db.read() as conn:
        (held,) = plan_items.of_run(conn, run_id, Outcome.HELD_BACK)
    assert (held.job_number, held.note) == ("A-6", "has an active child: Phase 1")
    assert office.broken("Shop", "Yard", "Training", "Vacation", "Phase 1") == []


def test_whoever_is_on_the_clock_holds_the_job_back_by_name(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    code = next(c["id"] for c in office.sandbox.qbt.state()["jobcodes"] if c["name"] == "A-2")
    office.sandbox.qbt.clock_in(code)
    close(office, 1, 2)
    run_id, text = prune(office)
    assert text == "1 archived, 1 held back"
    with office.app.db.read() as conn:
        (held,) = plan_items.of_run(conn, run_id, Outcome.HELD_BACK)
    assert (held.job_number, held.note) == ("A-2", "1 on the clock right now")


def test_somebody_who_clocks_in_between_plan_and_archive_holds_it_back_too(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2)
    run_id = order(office)
    code = next(c["id"] for c in office.sandbox.qbt.state()["jobcodes"] if c["name"] == "A-1")
    during(office, "clocked", lambda: office.sandbox.qbt.clock_in(code))
    assert office.app.prune.run(run_id, None) == "1 archived, 1 held back"
    assert names(office, active=False) == {"A-2"}


def test_a_job_reopened_between_plan_and_archive_stays(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2)
    run_id = order(office)

    def reopen() -> None:
        office.sandbox.rm.put_jobs([job(1, "A-1")])
        office.fetch()

    during(office, "clocked", reopen)
    assert office.app.prune.run(run_id, None) == "1 archived, 1 dropped"
    office.push()
    assert names(office, active=False) == {"A-2"}


def test_too_many_are_held_and_an_approval_takes_those_and_not_one_more(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 201)))
    close(office, *range(1, 91))
    run_id = order(office)
    with pytest.raises(NeedsApproval) as held:
        office.app.prune.run(run_id, None)
    text = str(held.value)
    assert "90 of 200 managed jobcodes would leave (45%), the limit is 40: A-1, A-10" in text
    assert text.endswith(f"cprqueue prune approve {run_id}")
    assert names(office, active=False) == set()
    close(office, 91, 92)
    office.put(job(3, "A-3"))
    office.app.snapshot.take()
    assert approve(office, run_id) == "89 archived, 1 dropped"
    expected = {f"A-{n}" for n in range(1, 91)} - {"A-3"}
    assert names(office, active=False) == expected
    assert office.app.prune.run(run_id, None) == f"run {run_id} is done already"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"state": "failed", "note": "cut short"}, "failed: cut short"),
        ({"emitted": 100}, "has 100 jobs where one before had 200"),
    ],
    ids=["failed", "half"],
)
def test_a_complete_fetch_that_cannot_be_trusted_refuses_the_prune(
    office: Office, damage: dict[str, Any], sentence: str
) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    close(office, 1)
    with office.app.db.begin() as conn:
        newest, before = runs.newest_few(conn, RunKind.FETCH, RunState.DONE, limit=2)
        runs.change(conn, before.run_id, emitted=200)
        runs.change(conn, newest.run_id, **{"emitted": 200, **damage})
    with pytest.raises(Permanent, match=sentence):
        prune(office)
    assert names(office, active=False) == set()


def test_without_any_complete_fetch_nothing_leaves(office: Office) -> None:
    with pytest.raises(Permanent, match="there is no complete fetch yet"):
        prune(office)


def test_no_active_job_at_all_trips_the_brake(office: Office) -> None:
    office.put(job(1, "A-1"))
    close(office, 1)
    with pytest.raises(NeedsApproval, match="no job at all is active"):
        prune(office)


def test_a_jobcode_that_no_job_has_is_never_touched(office: Office) -> None:
    office.sandbox.qbt.add_jobcode(name="A-77")
    office.put(job(77, "A-77", **CLOSED), *(job(n, f"A-{n}") for n in range(1, 4)))
    assert prune(office)[1] == "0 archived"


def test_a_snapshot_of_ten_thousand_takes_fifty_calls_for_the_jobcodes(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 201)))
    for n in range(9_800):
        office.sandbox.qbt.add_jobcode(name=f"Other {n}")
    close(office, *range(1, 41))
    office.sandbox.client.reset_calls()
    run_id = order(office)
    listed = [c for c in office.sandbox.calls if c.path == "/jobcodes"]
    assert len(listed) == 50
    made = office.app.prune.plan(office.app.prune.facts())
    assert (len(made.archive), made.unmanaged) == (40, 9_800)
    office.app.prune.run(run_id, None)
    assert [(c.method, c.items) for c in office.sandbox.calls if c.method == "PUT"] == [("PUT", 40)]


@pytest.mark.parametrize("switches", [{}, {"archive_drops_links": True}], ids=["kept", "dropped"])
def test_an_undo_of_a_prune_leaves_everything_as_it_was(
    office: Office, switches: dict[str, Any]
) -> None:
    office.sandbox.qbt.switches.update(switches)
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, *range(1, 9))
    before = comparable(office.sandbox.qbt.state())
    run_id, _ = prune(office)
    assert len(names(office, active=False)) == 8
    undone = office.app.undo.run(office.app.undo.request(run_id))
    assert (undone.restored, undone.lost) == (8, [])
    assert comparable(office.sandbox.qbt.state()) == before


def test_an_undo_of_a_part_brings_back_that_part(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, *range(1, 5))
    run_id, _ = prune(office)
    office.app.undo.run(office.app.undo.request(run_id, ["A-2"]))
    assert names(office, active=False) == {"A-1", "A-3", "A-4"}
    with pytest.raises(UsageError, match="archived no A-50"):
        office.app.undo.run(office.app.undo.request(run_id, ["A-50"]))


def test_an_undo_says_what_could_not_come_back(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2)
    run_id, _ = prune(office)
    office.sandbox.qbt.add_jobcode(name="A-1")
    undone = office.app.undo.run(office.app.undo.request(run_id))
    assert undone.restored == 1
    ((number, text),) = undone.lost
    assert number == "A-1"
    assert text.startswith("stays archived: ")


def test_an_undo_after_a_job_was_reopened_and_renamed_leaves_it_to_the_sync(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2)
    run_id, _ = prune(office)
    office.put(job(1, "B-1"))
    office.app.undo.run(office.app.undo.request(run_id))
    office.push()
    assert names(office, active=False) == set()
    assert office.broken() == []


def test_a_pruned_job_that_is_reopened_comes_back_as_the_same_jobcode(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1)
    prune(office)
    office.put(job(1, "A-1"))
    assert office.broken() == []
    assert len(office.sandbox.qbt.state()["jobcodes"]) == 30


def test_a_rehearsal_of_remove_all_counts_and_changes_nothing(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 121)))
    office.sandbox.qbt.add_jobcode(name="Shop")
    office.sandbox.qbt.clock_in(office.sandbox.qbt.state()["jobcodes"][0]["id"])
    writes = len(office.writes())
    seen = office.app.remove_all.rehearse(office.app.snapshot.take(), include_unmanaged=False)
    assert (seen.managed, seen.unmanaged, seen.leaving, seen.calls) == (120, 1, 120, 6)
    assert seen.phrase == "REMOVE MANAGED 120"
    assert len(seen.on_the_clock) == 1
    assert len(office.writes()) == writes


@pytest.mark.parametrize("include_unmanaged", [False, True], ids=["managed", "all"])
def test_an_undo_of_a_remove_all_leaves_everything_as_it_was(
    office: Office, include_unmanaged: bool
) -> None:
    qbt = office.sandbox.qbt
    office.put(*(job(n, f"A-{n}") for n in range(1, 121)))
    parent = qbt.add_jobcode(name="Shop")
    qbt.add_jobcode(name="Shop child", parent_id=parent, assigned_to_all=True)
    before = comparable(qbt.state())
    run_id = remove_all(office, include_unmanaged=include_unmanaged)
    office.app.remove_all.run(run_id)
    left = {"Shop", "Shop child"} if not include_unmanaged else set()
    assert names(office, active=True) == left
    office.app.undo.run(office.app.undo.request(run_id))
    assert comparable(qbt.state()) == before
    office.push()
    assert office.counts()["in_sync"] == 120


def test_a_wrong_phrase_removes_nothing(office: Office) -> None:
    office.put(job(1, "A-1"))
    with pytest.raises(UsageError, match="REMOVE MANAGED 1"):
        office.app.remove_all.request(
            office.app.snapshot.take(), "REMOVE MANAGED 2", include_unmanaged=False
        )
    assert names(office, active=False) == set()


def test_the_ordinary_sync_does_not_bring_removed_jobs_back_but_a_full_one_does(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 11)))
    office.app.remove_all.run(remove_all(office))
    office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="changed"), job(11, "A-11")])
    office.fetch()
    for _ in range(3):
        assert office.ring().text.startswith("the sync is suspended by the remove-all")
    assert names(office, active=True) == set()
    office.app.fetch.request(complete=True, requested_by="operator")
    office.push()
    assert office.broken() == []


def test_a_stopped_remove_all_goes_on_where_it_was(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 121)))
    run_id = remove_all(office)
    office.app.remove_all.stop(run_id)
    assert office.app.remove_all.run(run_id) == "0 archived"
    with office.app.db.read() as conn:
        stopped = runs.get(conn, run_id)
    assert stopped is not None
    assert (stopped.state, stopped.note) == ("stopped", "stopped: 0 archived, 120 left")
    again = office.app.remove_all.resumable(phrase(120, include_unmanaged=False))
    assert again == run_id
    assert office.app.remove_all.run(run_id) == "120 archived"


def test_a_remove_all_that_was_undone_is_not_taken_up_by_the_same_phrase(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 121)))
    run_id = remove_all(office)
    office.app.remove_all.stop(run_id)
    office.app.remove_all.run(run_id)
    office.app.undo.run(office.app.undo.request(run_id))
    assert office.app.remove_all.resumable(phrase(120, include_unmanaged=False)) is None
