"""A fetch is closed once all that it showed is on record, and what two no longer show is gone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from sqlalchemy import update

from cprqueue.domain.models import Job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind
from cprqueue.errors import AlreadyDone, AlreadyRunning
from cprqueue.services.fetch.closing import STALLED_AFTER, lost_fetches
from cprqueue.services.fetch.fetch import FetchRun
from cprqueue.services.record import record
from cprqueue.services.reports import progress
from cprqueue.store import runs
from cprqueue.store.tables import locks
from tests.office import Office, job


def running(office: Office, run_id: int | None = None) -> AbstractContextManager[FetchRun]:
    return office.app.fetch.running(run_id, complete=True)


def send(office: Office, run_id: int | None = None) -> tuple[FetchRun, list[Job]]:
    """Do what the fetch worker does; return the messages that wait in the queue."""
    with running(office, run_id) as run:
        return run, list(office.app.fetch.messages(run))


def insert(office: Office, run: FetchRun, messages: list[Job]) -> None:
    """Do what the insert workers do."""
    for message in messages:
        sighting = Sighting(
            run_id=run.run_id,
            number=run.number,
            complete=run.complete,
            observed_at=run.observed_at,
        )
        record(office.app.db, office.app.rules, message, sighting)


def fetch(office: Office) -> None:
    """Fetch everything, from the request to the end."""
    insert(office, *send(office))
    assert not office.app.fetch.close()


def verification(office: Office, run_id: int) -> progress.SyncProgress:
    return progress.read_progress(office.app.db, office.app.budget, run_id, calls_before=0)


def pass_time(office: Office, time: timedelta, *, but: int = 0) -> None:
    """Let all runs but one stand as if nobody had touched them for so long."""
    with office.app.db.begin() as conn:
        for run in runs.newest_few(conn, RunKind.FETCH, limit=9):
            if run.run_id != but:
                earlier = run.moved - time - timedelta(seconds=1)
                runs.change(conn, run.run_id, touched_at=earlier)


def test_a_job_that_vanishes_leaves_its_number_to_the_one_that_waits_for_it(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "a-1"))
    assert (office.link(1).state, office.link(2).error_code) == ("in_sync", "doubled_number")
    office.sandbox.rm.delete_jobs([1])
    for _ in range(2):
        fetch(office)
    assert (office.row(1).active, office.link(2).state) == (False, "due")
    office.push()
    assert office.link(2).state == "in_sync"
    assert office.broken() == []


def test_a_fetch_that_was_queued_first_but_began_later_waits_for_its_own_messages(
    office: Office,
) -> None:
    office.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 6)])
    ordered = office.app.fetch.request(complete=True, requested_by="sync")
    fetch(office)  # beat's own: its number is higher, and it is through first
    office.push()
    office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="1 New Street")])
    run, messages = send(office, ordered)
    assert office.app.fetch.close()
    assert (verification(office, ordered).recorded, verification(office, ordered).finished) == (
        0,
        False,
    )
    insert(office, run, messages)
    assert not office.app.fetch.close()
    end = verification(office, ordered)
    assert (end.state, end.recorded, end.in_sync, end.due) == ("done", 5, 4, 1)


def test_a_fetch_that_is_taken_up_again_counts_from_the_start(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 4)])
    run, messages = send(office)
    insert(office, run, messages[:2])  # the third message is lost
    assert office.app.fetch.close()
    (again,) = lost_fetches(office.app.db, lambda _queue: 0, quiet=timedelta(seconds=-1))
    second, messages = send(office, again.run_id)
    assert verification(office, run.run_id).recorded == 0
    insert(office, second, messages)
    assert not office.app.fetch.close()
    assert verification(office, run.run_id).recorded == 3


def test_a_fetch_that_waits_for_another_one_has_not_got_stuck(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    with running(office) as run:
        ordered = office.app.fetch.request(complete=True, requested_by="sync")
        pass_time(office, STALLED_AFTER, but=run.run_id)
        with pytest.raises(AlreadyRunning):
            send(office, ordered)
        messages = list(office.app.fetch.messages(run))
    insert(office, run, messages)
    assert not office.app.fetch.close()
    assert send(office, ordered)[0].run_id == ordered


def test_a_fetch_whose_worker_is_busy_with_another_one_has_not_got_stuck(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    with running(office) as run:
        ordered = office.app.fetch.request(complete=True, requested_by="sync")
        pass_time(office, STALLED_AFTER, but=run.run_id)
        office.app.fetch.close()  # the sweep does it each minute
        messages = list(office.app.fetch.messages(run))
    insert(office, run, messages)
    assert not office.app.fetch.close()
    assert send(office, ordered)[0].run_id == ordered


def test_a_fetch_that_nobody_takes_up_is_called_failed(office: Office) -> None:
    ordered = office.app.fetch.request(complete=True, requested_by="sync")
    pass_time(office, STALLED_AFTER)
    office.app.fetch.close()
    assert verification(office, ordered).note.startswith("never started")
    with pytest.raises(AlreadyDone):
        send(office, ordered)


def test_a_fetch_that_lost_its_lock_leaves_the_run_to_whoever_has_it(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])

    def suspended_for_too_long() -> None:
        with running(office) as late:
            with office.app.db.begin() as conn:
                runs.requeue(conn, late.run_id)
                conn.execute(update(locks).values(holder=None, until=None))
            insert(office, *send(office, late.run_id))
            assert not office.app.fetch.close()
            with running(office):
                late.alive()

    with pytest.raises(AlreadyRunning):
        suspended_for_too_long()
    assert verification(office, 1).state == "done"
