"""One fetch: who may begin, since when it asks, and what is written down of its end."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.clients.rm import BEGINNING
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyDone, AlreadyRunning, ServiceFailed, UnreadableAnswer
from cprqueue.services import gates
from cprqueue.services.fetch.fetch import OVERLAP, FetchRun, every, next_since
from cprqueue.store import locks, runs
from cprqueue.store.database import clock
from tests.office import Office, job
from tests.pruning import remove_all, suspended


def get(office: Office, run_id: int) -> Any:
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def running(
    office: Office, run_id: int | None = None, *, complete: bool = False
) -> AbstractContextManager[FetchRun]:
    return office.app.fetch.running(run_id, complete=complete)


def fetch(office: Office) -> int:
    """Fetch without any job on record afterwards; return the run, closed as done."""
    with running(office) as run:
        list(office.app.fetch.messages(run))
    with office.app.db.begin() as conn:
        runs.change(conn, run.run_id, state=RunState.DONE)
    return run.run_id


def failed_fetch(office: Office) -> FetchRun:
    with pytest.raises(ServiceFailed), running(office) as run:
        raise ServiceFailed("gone")
    return run


def test_a_fetch_that_is_asked_for_waits_with_who_asked(office: Office) -> None:
    run_id = office.app.fetch.request(complete=True, requested_by="operator")
    run = get(office, run_id)
    assert (run.kind, run.state) == (RunKind.FETCH, RunState.QUEUED)
    assert (run.complete, run.requested_by) == (True, "operator")


def test_only_a_complete_fetch_ends_the_suspension_after_a_remove_all(office: Office) -> None:
    office.put(job(1, "A-1"))
    remove_all(office)
    office.app.fetch.request(complete=False, requested_by="operator")
    assert suspended(office)
    office.app.fetch.request(complete=True, requested_by="operator")
    assert not suspended(office)
    with office.app.db.read() as conn:
        assert gates.suspension_reason(conn) == ""


def test_the_first_fetch_is_complete_whoever_asks(office: Office) -> None:
    with running(office) as run:
        assert (run.complete, run.since) == (True, BEGINNING)
        row = get(office, run.run_id)
    assert (row.state, row.complete, row.since) == (RunState.RUNNING, True, BEGINNING)
    assert run.observed_at == row.observed_at <= row.started_at
    assert row.touched_at == row.started_at


def test_the_next_fetch_asks_from_a_day_before_the_last_one_that_was_recorded(
    office: Office,
) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    first = fetch(office)
    second = failed_fetch(office)
    assert not second.complete
    assert second.since == get(office, first).observed_at - OVERLAP
    with running(office, complete=True) as third:
        assert (third.complete, third.since) == (True, BEGINNING)


def test_a_fetch_that_was_ordered_complete_is_complete_when_its_turn_comes(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    ordered = office.app.fetch.request(complete=True, requested_by="sync")
    with running(office, ordered) as run:
        assert run.complete


def test_no_fetch_asks_from_before_the_beginning(office: Office) -> None:
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, now=BEGINNING, state=RunState.DONE, complete=True)
        runs.change(conn, run_id, observed_at=BEGINNING + timedelta(hours=1))
        assert next_since(conn) == BEGINNING


def test_a_second_fetch_waits_and_is_kept_waiting(office: Office) -> None:
    ordered = office.app.fetch.request(complete=False, requested_by="sync")
    with running(office):
        before = get(office, ordered).touched_at
        with pytest.raises(AlreadyRunning, match="another fetch is running"):
            running(office, ordered).__enter__()
        assert get(office, ordered).touched_at > before
        assert get(office, ordered).state is RunState.QUEUED
    assert office.app.fetch.close() is False, "it had no message"
    with running(office, ordered) as second:
        assert second.run_id == ordered


def test_while_messages_of_a_fetch_are_being_recorded_no_other_begins(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    with running(office) as run:
        assert len(list(office.app.fetch.messages(run))) == 1
    row = get(office, run.run_id)
    assert (row.state, row.emitted, row.skipped, row.recorded) == (RunState.RECORDING, 1, 0, 0)
    for _ in range(2):
        with pytest.raises(AlreadyRunning, match="of another fetch are still being recorded"):
            running(office).__enter__()
    assert office.app.fetch.close()


def test_a_fetch_that_is_over_does_not_begin_again(office: Office) -> None:
    run_id = failed_fetch(office).run_id
    with pytest.raises(AlreadyDone, match=f"run {run_id} is over already"):
        running(office, run_id).__enter__()


def test_a_fetch_that_failed_says_why_and_lets_the_next_one_begin(office: Office) -> None:
    run_id = failed_fetch(office).run_id
    row = get(office, run_id)
    assert (row.state, row.note) == (RunState.FAILED, "gone")
    assert row.finished_at is not None
    with running(office) as run:
        assert run.run_id > run_id


def test_an_error_that_nobody_foresaw_fails_the_fetch_without_its_text(office: Office) -> None:
    with pytest.raises(ZeroDivisionError), running(office) as run:
        raise ZeroDivisionError("1 Main Street")
    row = get(office, run.run_id)
    said = "unexpected ZeroDivisionError: see the log of the fetch worker"
    assert (row.state, row.note) == (RunState.FAILED, said)


def test_a_complete_answer_without_any_job_is_refused_and_an_incremental_one_is_not(
    office: Office,
) -> None:
    with pytest.raises(UnreadableAnswer, match="holds no job at all"), running(office) as run:
        list(office.app.fetch.messages(run))
    assert not office.app.fetch.path(complete=True).exists()
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    office.sandbox.rm.delete_jobs([1])
    with running(office) as run:
        assert list(office.app.fetch.messages(run)) == []


def test_complete_and_incremental_answers_are_kept_apart(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    assert office.app.fetch.path(complete=True).name == "cpr_all_jobs.json"
    assert not office.app.fetch.path(complete=False).exists()
    fetch(office)
    assert office.app.fetch.path(complete=False).name == "cpr_changed_jobs.json"
    assert office.app.fetch.path(complete=False).exists()


def test_a_fetch_that_lost_its_lock_sends_nothing_more(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])

    def send_without_lock(run: FetchRun) -> None:
        with office.app.db.begin() as conn:
            later, hour = clock(conn) + timedelta(hours=1), timedelta(hours=1)
            assert locks.take(conn, locks.FETCH, "another", now=later, limit=hour)
        list(office.app.fetch.messages(run))

    with pytest.raises(AlreadyRunning), running(office) as run:
        send_without_lock(run)
    row = get(office, run.run_id)
    assert (row.state, row.emitted) == (RunState.RUNNING, 0), "the other one may be at this run"


def test_a_fetch_that_is_at_work_moves_its_run_on(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    with running(office) as run:
        before = get(office, run.run_id).touched_at
        list(office.app.fetch.messages(run))
        assert get(office, run.run_id).touched_at > before


def test_what_is_done_every_so_often_is_not_done_at_each_call() -> None:
    done: list[int] = []
    hourly, always = every(3600, lambda: done.append(1)), every(0, lambda: done.append(2))
    for so_far in range(3):
        hourly(so_far)
        always(so_far)
    assert done == [2, 2, 2]


def test_the_lock_is_renewed_while_a_long_list_is_read(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    office.app.fetch.lock_limit = timedelta(0)
    renewed: list[int] = []
    with suppress(AlreadyRunning), office.app.fetch.running(None, complete=True) as run:
        run.alive = lambda: renewed.append(run.emitted)
        list(office.app.fetch.messages(run))
    assert renewed.count(0) >= 3, "at each job, before it is known how many there are"
