"""The brake on pushes, where a fetch fails after it has shown a part of its jobs."""

from __future__ import annotations

from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import push_brake
from cprqueue.services.record import record
from tests.office import Office, job
from tests.services.test_push_brake import RENAMED, begin, decided, managed

__all__ = ["managed"]


def test_a_fetch_that_failed_is_decided_with_the_next_one(managed: Office) -> None:
    begin(managed, *RENAMED[:15], state=RunState.FAILED)
    assert decided(managed) == (0, 15)
    assert managed.ring().pushed == 0
    begin(managed, *RENAMED[15:30])
    assert decided(managed) == (30, 0)


def test_half_of_a_complete_fetch_is_not_decided_before_the_other_half_is_known(
    managed: Office,
) -> None:
    """Its second half comes with the next complete one: with none of them the limit is reached."""
    begin(managed, *RENAMED[:15], state=RunState.FAILED, complete=True)
    begin(managed, kind=RunKind.IMPORT)
    begin(managed)
    assert decided(managed) == (0, 15)
    assert managed.ring().pushed == 0
    managed.sandbox.rm.put_jobs(RENAMED[:30])
    with managed.app.fetch.running(None, complete=False) as run:
        assert run.complete, "so that the half does not wait for the night"
        jobs = list(managed.app.fetch.messages(run))
    sighting = Sighting(
        run_id=run.run_id,
        number=run.number,
        complete=True,
        observed_at=run.observed_at,
        braked=True,
    )
    for each in jobs:
        record(managed.app.db, managed.app.rules, each, sighting)
    assert decided(managed) == (30, 0)
    with managed.app.fetch.running(None, complete=False) as run:
        assert not run.complete


def test_complete_fetches_that_go_on_failing_do_not_keep_the_others_out(managed: Office) -> None:
    owed = []
    for _ in range(4):
        begin(managed, RENAMED[0], state=RunState.FAILED, complete=True)
        with managed.app.db.read() as conn:
            owed.append(push_brake.owes_complete(conn))
    begin(managed)
    with managed.app.db.read() as conn:
        owed.append(push_brake.owes_complete(conn))
    assert owed == [True, True, False, False, True]


def test_half_of_a_fetch_is_not_decided_with_an_imported_file(managed: Office) -> None:
    begin(managed, *RENAMED[:15], state=RunState.FAILED)
    begin(managed, job(500, "B-1"), kind=RunKind.IMPORT)
    assert decided(managed) == (0, 16)
    assert managed.ring().pushed == 1, "the file's own"
    begin(managed, *RENAMED[15:30])
    assert decided(managed) == (30, 0)
