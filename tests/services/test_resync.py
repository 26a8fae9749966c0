"""A resync puts one job right, whatever else happens at the same moment."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from cprqueue import config
from cprqueue.celery import celery_settings
from cprqueue.domain.states import RunKind
from cprqueue.services.resync import LIST_SECONDS, Report, reports_of
from cprqueue.store import events, runs
from tests.office import Office, job
from tests.real_processes import wait_until


def slow_list(office: Office, seconds: float) -> None:
    """Let RM offer no single jobs, and its complete list come in slowly."""
    office.sandbox.rm.switches.update({"single_job": "404", "drip_seconds": seconds})


def downloading(office: Office) -> bool:
    return bool(list(office.settings.var_dir.glob("*/*.part")))


@contextmanager
def resync_that_began_before(office: Office) -> Iterator[list[Report]]:
    """Resync A-1 as RM has it now; what the block does is newer, and recorded earlier."""
    slow_list(office, 1.5)
    reports: list[Report] = []
    work = threading.Thread(target=lambda: reports.extend(office.app.resync.run("A-1", None)))
    work.start()
    wait_until(lambda: downloading(office))
    yield reports
    work.join(60)
    office.push()


def jobcodes(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.sandbox.qbt.state()["jobcodes"]
    return found


def test_a_fetch_that_overtakes_a_resync_wins_and_a_change_back_is_pushed(office: Office) -> None:
    office.put(job(1, "A-1", jobAddress1="1 Old Street"))
    with resync_that_began_before(office) as reports:
        office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="2 New Street")])
        office.fetch()
    assert office.broken() == []
    assert office.row(1).addr1 == "2 New Street"
    assert "a newer fetch has recorded it" in reports[0].steps[2].text
    office.put(job(1, "A-1", jobAddress1="1 Old Street"))
    assert office.broken() == []


def test_a_job_that_a_fetch_closed_meanwhile_is_not_pushed_by_the_resync(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    with resync_that_began_before(office) as reports:
        office.sandbox.rm.put_jobs([job(1, "A-1", jobProgress="Lost Lead")])
        office.fetch()
    assert (office.row(1).active, office.link(1).state) == (False, "idle")
    assert [code["active"] for code in jobcodes(office)] == [False]
    assert reports[0].ok


def newest_run(office: Office) -> Any:
    with office.app.db.read() as conn:
        return runs.newest(conn, RunKind.RESYNC)


def test_a_complete_list_that_takes_too_long_fails_the_run_in_one_line(office: Office) -> None:
    slow_list(office, 30)
    office.app.resync.list_seconds = 1
    (report,) = office.app.resync.run("A-1", None)
    assert not report.ok
    assert newest_run(office).state == "failed"
    assert "no complete answer in 1 s" in newest_run(office).note


@pytest.mark.parametrize("text", ["²", "9" * 30])
def test_what_only_looks_like_a_job_id_is_no_job_in_one_line(office: Office, text: str) -> None:
    (report,) = office.app.resync.run(text, None)
    assert "has no job" in report.steps[-1].text


def test_the_complete_list_may_not_take_as_long_as_the_whole_task() -> None:
    assert celery_settings(config.load({}))["task_soft_time_limit"] > LIST_SECONDS


@pytest.mark.parametrize("stopped_by", [SoftTimeLimitExceeded, KeyboardInterrupt])
def test_a_resync_that_is_stopped_in_the_middle_is_over_at_once(
    office: Office, stopped_by: type[BaseException]
) -> None:
    """A task's time limit is a signal, whose handler raises wherever the work is just then."""

    def stop(_number: int, _frame: object) -> None:
        raise stopped_by

    slow_list(office, 30)
    before = signal.signal(signal.SIGUSR1, stop)
    main = threading.get_ident()

    def watch() -> None:
        wait_until(lambda: downloading(office))
        signal.pthread_kill(main, signal.SIGUSR1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(stopped_by):
            office.app.resync.run("A-1", None)
    finally:
        signal.signal(signal.SIGUSR1, before)
        watcher.join()
    run = newest_run(office)
    assert (run.state, run.note) == ("failed", "stopped before its end: resync the job again")
    assert reports_of(run)[0].ok is False


@pytest.mark.settings(QBT_RATE_LIMIT="30", QBT_RATE_WINDOW="3")
def test_a_resync_waits_for_a_free_call_and_says_so(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    office.app.budget.block()  # as if all calls of the window had been used just now
    run_id = office.app.resync.request("A-1", 60)
    work = threading.Thread(target=lambda: office.app.resync.run("A-1", run_id))
    work.start()
    wait_until(lambda: (newest_run(office).note or "").startswith("waiting for a free call"))
    work.join(60)
    (report,) = reports_of(newest_run(office))
    assert report.ok
    assert re.search(r"differs in .* \(after \d+ s of waiting for a free call\)", text_of(report))
    assert office.broken() == []


def text_of(report: Report) -> str:
    return "; ".join(step.text for step in report.steps)


@pytest.mark.settings(QBT_RATE_LIMIT="30", QBT_RATE_WINDOW="300")
def test_a_resync_waits_no_longer_than_whoever_ordered_it(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.app.budget.block()  # as if all calls of the window had been used just now
    began = time.monotonic()
    (report,) = office.app.resync.run("A-1", office.app.resync.request("A-1", 10))
    assert time.monotonic() - began < 10
    assert not report.ok
    assert "all calls of this window are used" in report.steps[-1].text


def test_resyncs_that_change_nothing_leave_a_jobs_history_as_it_is(office: Office) -> None:
    office.put(job(1, "A-1"))
    before = history(office)
    for _ in range(3):
        (report,) = office.app.resync.run("A-1", None)
        assert report.ok
    assert history(office) == before
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    office.app.resync.run("A-1", None)
    assert len(history(office)) == len(before) + 1


def history(office: Office) -> list[str]:
    with office.app.db.read() as conn:
        return [event.text for event in events.of_job(conn, 1)]
