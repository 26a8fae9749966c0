"""One fetch: who may begin, since when it asks, and what is written down of its end."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cprqueue.clients.rm import BEGINNING
from cprqueue.domain.records import RunKind, RunState
from cprqueue.errors import AlreadyDone, AlreadyRunning, ServiceFailed, UnreadableAnswer
from cprqueue.services import gates
from cprqueue.services.fetch.fetch import OVERLAP, FetchRun, every, next_since, survey_file
from cprqueue.store import runs
from tests.office import Office, job
from tests.pruning import remove_all, suspended


def get(office: Office, run_id: int) -> Any:
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def begin(office: Office, run_id: int | None = None, *, complete: bool = False) -> FetchRun:
    return office.app.fetch.start(run_id, complete=complete)


def fetch(office: Office, *, complete: bool = False) -> int:
    """Fetch without any job on record afterwards; return the run, closed as done."""
    run = begin(office, complete=complete)
    list(office.app.fetch.messages(run))
    office.app.fetch.sent(run)
    with office.app.db.begin() as conn:
        runs.change(conn, run.run_id, state=RunState.DONE)
    return run.run_id


def test_a_fetch_that_is_asked_for_waits_with_who_asked(office: Office) -> None:
    run_id = office.app.fetch.request(complete=True, requested_by="operator")
    run = get(office, run_id)
    assert (run.kind, run.state, run.complete, run.requested_by) == (
        "fetch", "queued", True, "operator",
    )  # fmt: skip


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
    run = begin(office)
    assert (run.complete, run.since) == (True, BEGINNING)
    row = get(office, run.run_id)
    assert (row.state, row.complete, row.since) == ("running", True, BEGINNING)
    assert row.observed_at == row.started_at == row.touched_at == run.observed_at


def test_the_next_fetch_asks_from_a_day_before_the_last_one_that_was_recorded(
    office: Office,
) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    first = fetch(office)
    second = begin(office)
    assert not second.complete
    assert second.since == get(office, first).observed_at - OVERLAP
    office.app.fetch.failed(second, ServiceFailed("gone"))
    third = begin(office, complete=True)
    assert (third.complete, third.since) == (True, BEGINNING)


def test_a_fetch_that_was_ordered_complete_is_complete_when_its_turn_comes(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    ordered = office.app.fetch.request(complete=True, requested_by="sync")
    assert begin(office, ordered).complete


def test_no_fetch_asks_from_before_the_beginning(office: Office) -> None:
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, now=BEGINNING, state=RunState.DONE, complete=True)
        runs.change(conn, run_id, observed_at=BEGINNING + timedelta(hours=1))
        assert next_since(conn) == BEGINNING


def test_a_second_fetch_waits_and_is_kept_waiting(office: Office) -> None:
    running = begin(office)
    ordered = office.app.fetch.request(complete=False, requested_by="sync")
    before = get(office, ordered).touched_at
    with pytest.raises(AlreadyRunning, match="another fetch is running"):
        begin(office, ordered)
    assert get(office, ordered).touched_at > before
    office.app.fetch.failed(running, ServiceFailed("gone"))
    assert begin(office, ordered).run_id == ordered


def test_while_messages_of_a_fetch_are_being_recorded_no_other_begins(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    run = begin(office)
    assert len(list(office.app.fetch.messages(run))) == 1
    office.app.fetch.sent(run)
    row = get(office, run.run_id)
    assert (row.state, row.emitted, row.skipped, row.recorded) == (RunState.RECORDING, 1, 0, 0)
    for _ in range(2):
        with pytest.raises(AlreadyRunning, match=f"run {run.run_id} is still being recorded"):
            begin(office)
    assert office.app.fetch.close()


def test_a_fetch_that_is_over_does_not_begin_again(office: Office) -> None:
    run_id = fetch_none(office)
    with pytest.raises(AlreadyDone, match=f"run {run_id} has already been through"):
        begin(office, run_id)


def fetch_none(office: Office) -> int:
    run = begin(office)
    office.app.fetch.failed(run, ServiceFailed("gone"))
    return run.run_id


def test_a_fetch_that_failed_says_why_and_lets_the_next_one_begin(office: Office) -> None:
    run_id = fetch_none(office)
    row = get(office, run_id)
    assert (row.state, row.note) == ("failed", "gone")
    assert row.finished_at is not None
    assert begin(office).run_id > run_id


def test_a_complete_answer_without_any_job_is_refused_and_an_incremental_one_is_not(
    office: Office,
) -> None:
    run = begin(office)
    with pytest.raises(UnreadableAnswer, match="holds no job at all"):
        list(office.app.fetch.messages(run))
    assert not office.app.fetch.path(complete=True).exists()
    office.app.fetch.failed(run, ServiceFailed("gone"))
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    office.sandbox.rm.delete_jobs([1])
    assert list(office.app.fetch.messages(begin(office))) == []


def test_complete_and_incremental_answers_are_kept_apart(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    fetch(office)
    assert office.app.fetch.path(complete=True).name == "cpr_all_jobs.json"
    assert not office.app.fetch.path(complete=False).exists()
    fetch(office)
    assert office.app.fetch.path(complete=False).name == "cpr_changed_jobs.json"
    assert office.app.fetch.path(complete=False).exists()


def test_a_fetch_that_lost_its_turn_sends_nothing_more(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    run = begin(office)
    run.holder = "somebody else"
    with pytest.raises(AlreadyRunning, match=f"run {run.run_id} lost its lock"):
        list(office.app.fetch.messages(run))


def test_a_fetch_that_is_at_work_moves_its_run_on(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    run = begin(office)
    before = get(office, run.run_id).touched_at
    list(office.app.fetch.messages(run))
    assert get(office, run.run_id).touched_at > before


def answer(tmp_path: Path, *items: Any) -> Path:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(items))
    return path


def test_of_doubles_the_last_place_counts_and_what_is_no_job_is_skipped(tmp_path: Path) -> None:
    seen: list[int] = []
    path = answer(tmp_path, job(1, "A-1"), {"x": 1}, job(2, "A-2"), job(1, "B-1"), {})
    survey = survey_file(path, seen=seen.append)
    assert (survey.last_index, survey.skipped) == ({1: 3, 2: 2}, 2)
    assert seen == [1, 2, 3, 4, 5]


def test_a_list_of_something_else_than_jobs_is_refused_and_an_empty_one_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnreadableAnswer, match="is a list, but holds no jobs"):
        survey_file(answer(tmp_path, {"x": 1}))
    assert survey_file(answer(tmp_path)).last_index == {}


def test_what_is_done_every_so_often_is_not_done_at_each_call() -> None:
    done: list[int] = []
    hourly, always = every(3600, lambda: done.append(1)), every(0, lambda: done.append(2))
    for so_far in range(3):
        hourly(so_far)
        always(so_far)
    assert done == [2, 2, 2]
