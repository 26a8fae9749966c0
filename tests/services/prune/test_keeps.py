"""A job that a person keeps: what the prune, an undo, a plan and ``explain`` make of it."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.keeps import Keep
from cprqueue.domain.states import Outcome
from cprqueue.errors import AlreadyRunning, UsageError
from cprqueue.services.prune import keeps
from cprqueue.services.prune.keeps import Kept
from cprqueue.services.reports.explain import Explanation, explain
from cprqueue.store import keeps as stored
from cprqueue.store import plan_items
from cprqueue.store.database import clock
from tests.office import Office, die_at, job
from tests.pruning import close, during, names, order, outcomes, prune, remove_all, run_of
from tests.real_processes import wait_until

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000", CPR_TIMEZONE="America/Denver")

UNTIL_ANY = "kept by Anna until further notice"


@pytest.fixture
def office(office: Office) -> Office:
    """Thirty jobs, of which the first three are closed."""
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2, 3)
    return office


def keep(office: Office, *ids: int, until: str | None = None, because: str = "") -> list[Kept]:
    return keeps.keep(
        office.app.db,
        ids,
        requested_by="Anna",
        until=until,
        because=because,
        timezone="America/Denver",
    )


def held_back(office: Office, run_id: int) -> dict[str, Any]:
    with office.app.db.read() as conn:
        items = plan_items.of_run(conn, run_id, Outcome.HELD_BACK)
    return {item.job_number: item.note for item in items}


def explained(office: Office, job_id: int) -> Explanation:
    return explain(office.app.db, job_id, timezone="America/Denver")


def test_a_kept_job_stays_is_named_everywhere_and_leaves_once_it_is_not_kept(
    office: Office,
) -> None:
    keep(office, 1, 5, until="2099-12-31", because="warranty")
    run_id, text = prune(office)
    said = "kept by Anna until 2099-12-31: warranty"
    assert (text, held_back(office, run_id)) == ("2 archived, 1 held back", {"A-1": said})
    code = office.link(1).jobcode_id
    found = explained(office, 1)
    assert "is not active, because progress" in found.sentence
    assert found.sentence.endswith(f"; its jobcode {code} stays. It is {said}.")
    assert explained(office, 5).sentence.endswith(f"It is {said}.")
    kept = found.as_json()["kept"]
    assert isinstance(kept, dict)
    assert (kept["requested_by"], str(kept["until"]), kept["because"]) == (
        "Anna",
        "2099-12-31",
        "warranty",
    )
    made = office.app.planner.make(lambda _: None)
    reasons = {row.job_number: row.reason for row in made.plan.jobs}
    assert reasons["A-1"].endswith(f"; {said}")
    assert reasons["A-5"] == "", "an active job's jobcode stays by itself"

    assert keeps.unkeep(office.app.db, [1, 2], requested_by="Bo") == [1]
    history = [(event.kind, event.text) for event in explained(office, 1).events][-2:]
    assert history == [
        ("kept", said),
        ("unkept", "by Bo: the next prune may archive the jobcode"),
    ]
    assert prune(office)[1] == "1 archived"


def test_a_keep_that_is_over_counts_no_more(office: Office) -> None:
    with office.app.db.begin() as conn:
        now = clock(conn)
        over: dict[str, Any] = {"requested_by": "Anna", "kept_at": now, "because": ""}
        rows = [Keep(job_id=1, until=now, **over), Keep(job_id=2, until=None, **over)]
        stored.put(conn, rows)
    assert prune(office)[1] == "2 archived, 1 held back"
    assert explained(office, 1).keep is None
    assert keeps.unkeep(office.app.db, [1], requested_by="Anna") == []


def test_the_last_word_of_a_person_counts(office: Office) -> None:
    keep(office, 1, until="2099-12-31", because="warranty")
    (again,) = keep(office, 1)
    assert again.keep.text("UTC") == UNTIL_ANY
    with pytest.raises(UsageError, match="which is over"):
        keep(office, 1, until="2020-01-01")
    assert str(explained(office, 1).sentence).endswith(f"It is {UNTIL_ANY}.")


@pytest.mark.parametrize("below", [False, True], ids=["itself", "its child"])
def test_a_job_that_is_kept_between_plan_and_archive_stays(office: Office, below: bool) -> None:
    qbt = office.sandbox.qbt
    parent, child = office.link(1).jobcode_id, office.link(2).jobcode_id
    if below:
        qbt.change_jobcode(child, parent_id=parent)
    run_id = order(office)
    during(office, "clocked", lambda: keep(office, 2))
    assert office.app.prune.run(run_id, None).endswith(f"{1 + below} held back")
    assert set(held_back(office, run_id).values()) == {UNTIL_ANY}
    assert names(office, active=False) == ({"A-3"} if below else {"A-1", "A-3"})


def test_a_child_that_is_active_again_between_plan_and_archive_holds_its_parent(
    office: Office,
) -> None:
    parent, child = office.link(1).jobcode_id, office.link(2).jobcode_id
    office.sandbox.qbt.change_jobcode(child, parent_id=parent)
    run_id = order(office)

    def reopen() -> None:
        office.sandbox.rm.put_jobs([job(2, "A-2")])
        office.fetch()

    during(office, "clocked", reopen)
    assert office.app.prune.run(run_id, None) == "1 archived, 1 held back, 1 dropped"
    assert held_back(office, run_id) == {"A-1": "has an active child: A-2"}


def test_a_keep_that_comes_while_the_request_is_under_way_says_so(office: Office) -> None:
    run_id = order(office)
    notes: list[str | None] = []
    during(office, "sending", lambda: notes.extend(row.note for row in keep(office, 1)))
    assert office.app.prune.run(run_id, None) == "3 archived"
    cure = f"`cprqueue undo {run_id} A-1` restores it"
    assert notes == [f"run {run_id} is archiving its jobcode right now: {cure}"]
    (kept,) = keep(office, 1)
    assert kept.note == f"its jobcode is archived: {cure}"
    assert "is archived in QuickBooks Time" in explained(office, 1).sentence
    office.app.undo.run(office.app.undo.request(run_id, ["A-1"]))
    assert keep(office, 1)[0].note is None
    assert prune(office)[1] == "0 archived, 1 held back"


def test_the_archived_jobcode_of_a_job_that_is_active_needs_no_cure(office: Office) -> None:
    office.sandbox.qbt.change_jobcode(office.link(4).jobcode_id, active=False)
    office.app.snapshot.take()
    assert keep(office, 4)[0].note is None, "the sync restores it"
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    office.app.snapshot.take()
    note = keep(office, 1)[0].note
    assert note == "its jobcode is archived, not by us: restore it in QuickBooks Time"


def undo(office: Office, run_id: int, *numbers: str, keep_by: str = "Anna") -> tuple[int, int]:
    request = office.app.undo.request(run_id, numbers, keep_by=keep_by)
    done = office.app.undo.run(request)
    return done.restored, done.kept


def test_an_undo_keeps_what_it_restored_and_what_an_undo_before_it_had(office: Office) -> None:
    run_id, _ = prune(office)
    assert undo(office, run_id, "A-1", keep_by="") == (1, 0)
    office.put(job(2, "A-2"))
    assert undo(office, run_id) == (2, 2), "A-2 is active: it stays by itself"
    assert explained(office, 2).keep is None
    assert prune(office)[1] == "0 archived, 2 held back"
    close(office, 2)
    assert prune(office)[1] == "1 archived, 2 held back"


UNDO = """
import sys
from cprqueue.bootstrap import application
print(application().undo.run(int(sys.argv[1])))
"""


@pytest.mark.parametrize("point", ["after_restore", "recorded_restore"])
def test_an_undo_that_is_killed_keeps_all_of_it_once_it_goes_on(office: Office, point: str) -> None:
    run_id, _ = prune(office)
    first = office.app.undo.request(run_id)
    die_at(office, point, UNDO, str(first))
    again = office.app.undo.request(run_id, keep_by="Anna")
    assert again == first, "the same undo, which keeps from now on"

    def resumed() -> bool:
        try:
            return office.app.undo.run(again).kept == 3
        except AlreadyRunning:  # what died holds the lock, or its leases
            return False

    wait_until(resumed)
    assert run_of(office, again).note == "3 restored, 3 kept"
    assert prune(office)[1] == "0 archived, 3 held back"


def test_a_remove_all_says_whose_jobcodes_are_kept_and_takes_them_all_the_same(
    office: Office,
) -> None:
    keep(office, 1, 5)
    snapshot = office.app.snapshot.take()
    seen = office.app.remove_all.rehearse(snapshot, include_unmanaged=False)
    assert (seen.leaving, seen.kept) == (30, ("A-1", "A-5"))
    run_id = remove_all(office)
    office.app.remove_all.run(run_id)
    assert outcomes(office, run_id) == {"archived": 30}
