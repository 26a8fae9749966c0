"""What a plan shows is what the prune does; what was just archived is in it no more."""

from __future__ import annotations

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.prune.remove_all import waiting_minutes
from cprqueue.store import runs
from tests.office import Office, job
from tests.pruning import (
    close,
    comparable,
    fault,
    names,
    order,
    outcomes,
    prune,
    remove_all,
    run_of,
)

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


def jobs(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


def planned(office: Office) -> set[str]:
    made = office.app.prune.plan(office.app.prune.facts())
    return {leaving.job_number for leaving in made.archive}


def test_a_plan_on_the_snapshot_from_before_a_prune_lists_nothing_of_what_it_archived(
    office: Office,
) -> None:
    jobs(office, 60)
    close(office, 1, 2, 3, 4)
    prune(office)
    close(office, 5)
    assert planned(office) == {"A-5"}


def test_a_plan_is_what_the_prune_archives(office: Office) -> None:
    jobs(office, 60)
    close(office, 1, 2, 3, 4)
    office.app.snapshot.take()
    shown = planned(office)
    prune(office)
    assert names(office, active=False) == shown == {"A-1", "A-2", "A-3", "A-4"}


# --- items that are refused, and done all the same ---


@pytest.mark.parametrize("code", [423, 500, 503])
@pytest.mark.parametrize("kind", ["prune", "remove-all"])
def test_an_item_that_is_refused_but_archived_can_be_undone(
    office: Office, code: int, kind: str
) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id = order(office) if kind == "prune" else remove_all(office)
    fault(office, kind="items", method="PUT", path="/jobcodes", positions=[1], code=code, act=True)
    if kind == "prune":
        office.app.prune.run(run_id, None)
    else:
        office.app.remove_all.run(run_id)
    office.sandbox.client.clear_faults()
    left = 2 if kind == "prune" else 30
    assert outcomes(office, run_id) == {"archived": left}
    assert run_of(office, run_id).recorded == left
    assert office.app.undo.run(office.app.undo.request(run_id)).restored == left
    assert names(office, active=False) == set()


def test_an_item_that_is_refused_and_not_archived_has_failed(office: Office) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id = order(office)
    fault(office, kind="items", method="PUT", path="/jobcodes", positions=[1], code=423)
    assert office.app.prune.run(run_id, None) == "1 archived, 1 failed"
    assert names(office, active=False) == {"A-2"}


@pytest.mark.parametrize(
    ("path", "switches"),
    [
        ("/jobcodes", {}),
        ("/locations", {"archive_drops_links": True}),
        ("/jobcode_assignments", {}),
    ],
)
def test_an_undo_verifies_what_was_refused_before_it_calls_it_lost(
    office: Office, path: str, switches: dict[str, bool]
) -> None:
    office.sandbox.qbt.switches.update(switches)
    jobs(office, 10)
    code = office.sandbox.qbt.add_jobcode(name="Shop")
    user = office.app.qbt().current_user()["id"]
    office.app.qbt().assign([{"user_id": user, "jobcode_id": code}])
    before = comparable(office.sandbox.qbt.state())
    run_id = remove_all(office, include_unmanaged=True)
    office.app.remove_all.run(run_id)
    fault(office, kind="items", path=path, positions=[1], code=503, act=True)
    undone = office.app.undo.run(office.app.undo.request(run_id))
    office.sandbox.client.clear_faults()
    assert (undone.restored, undone.lost) == (11, [])
    assert comparable(office.sandbox.qbt.state()) == before


# --- numbers that mean something ---


def test_the_counts_of_prunes_and_undos_are_what_was_planned_and_done(office: Office) -> None:
    jobs(office, 60)
    close(office, 1, 2, 3, 4)
    run_id, _ = prune(office)
    undo_id = office.app.undo.request(run_id, ["A-2", "A-3"])
    office.app.undo.run(undo_id)
    for id_, planned_, done in ((run_id, 4, 4), (undo_id, 2, 2)):
        row = run_of(office, id_)
        assert (row.emitted, row.recorded) == (planned_, done)
        assert row.calls > 0


@pytest.mark.parametrize(
    ("calls", "free", "minutes"),
    [(6, 270, 0), (270, 270, 0), (271, 270, 5), (6, 0, 5), (600, 60, 10), (601, 60, 15)],
)
def test_the_estimate_of_a_remove_all_counts_the_calls_that_are_used(
    calls: int, free: int, minutes: float
) -> None:
    assert waiting_minutes(calls, free, 270, 5) == minutes


def test_a_rehearsal_says_how_many_calls_are_free(office: Office) -> None:
    jobs(office, 3)
    snapshot_id = office.app.snapshot.take()
    before = office.app.remove_all.rehearse(snapshot_id, include_unmanaged=False)
    after = office.app.remove_all.rehearse(snapshot_id, include_unmanaged=False)
    assert before.free - after.free == 1  # who is on the clock
    assert run_of(office, snapshot_id).state is RunState.DONE
    with office.app.db.read() as conn:
        assert runs.newest(conn, RunKind.REMOVE_ALL) is None
