"""One job: both sides with their differences, what can be done, and how far a resync is."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from cprqueue.services.board import job as job_view
from cprqueue.services.board.job import JobView
from cprqueue.services.resync_report import SO_FAR, reports_of, reports_so_far
from cprqueue.store import runs
from cprqueue.store.tables import jobs as jobs_table
from tests.office import Office, job

CLOSED = {"jobProgress": "Lost Lead"}


def read(office: Office, job_id: int, run_id: int | None = None) -> JobView:
    found = job_view.read(office.app.db, job_id, timezone="UTC", run_id=run_id)
    assert found is not None
    return found


def test_a_job_in_step_has_no_difference(office: Office) -> None:
    office.put(job(1, "A-1"))
    found = read(office, 1)
    assert [field.differs for field in found.fields] == [False] * 10
    assert ("name", "A-1", "A-1") in [(f.name, f.wanted, f.held) for f in found.fields]
    assert not found.may_retry


def test_what_differs_is_marked(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.rm.put_jobs([job(1, "A-1b", jobZip="99999")])
    office.fetch()
    found = read(office, 1)
    marked = {f.name: (f.wanted, f.held) for f in found.fields if f.differs}
    assert marked == {"name": ("A-1b", "A-1"), "zip": ("99999", "83702")}
    assert found.may_retry


def test_a_job_that_is_not_there_yet_is_not_compared(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    office.fetch()
    assert {(f.held, f.differs) for f in read(office, 1).fields} == {("", None)}


def test_a_closed_job_whose_jobcode_is_active_still_differs_in_that(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.put(job(1, "A-1", **CLOSED))
    first = read(office, 1).fields[0]
    assert (first.name, first.wanted, first.held, first.differs) == ("active", "no", "yes", True)


def test_a_closed_job_that_never_was_there_is_shown_too(office: Office) -> None:
    office.put(job(1, "A-1", **CLOSED))
    assert {(f.held, f.differs) for f in read(office, 1).fields} == {("", None)}


def test_other_jobs_with_its_number_are_named(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "a-1"), job(3, ""), job(4, "", **CLOSED))
    assert read(office, 1).namesakes == [2]
    assert read(office, 3).namesakes == []


@pytest.mark.parametrize("job_id", [2, 0, -1, 2**63, 10**30])
def test_an_unknown_job_is_none(office: Office, job_id: int) -> None:
    office.put(job(1, "A-1"))
    assert job_view.read(office.app.db, job_id, timezone="UTC") is None


def test_a_resync_is_seen_step_by_step(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.put(job(1, "A-1"))
    with office.app.db.begin() as conn:
        conn.execute(update(jobs_table).values(recorded_at=jobs_table.c.observed_at))
    run_id = office.app.resync.request("A-1", 50)
    seen: list[list[str]] = []
    tell = type(office.app.resync)._tell

    def watch(self: object, watched: int, reports: object) -> None:
        tell(self, watched, reports)  # type: ignore[arg-type]  # as it was called
        progress = read(office, 1, run_id).progress
        assert progress is not None
        assert not progress.ended
        seen.append([step.step for step in progress.reports[0].steps])

    monkeypatch.setattr(type(office.app.resync), "_tell", watch)
    office.app.resync.run("A-1", run_id)
    steps = ["found in RestorationManager", "rule", "recorded", "compared"]
    assert seen == [steps[:3], steps]
    progress = read(office, 1, run_id).progress
    assert progress is not None
    assert progress.ended
    assert [step.step for step in progress.reports[0].steps] == [*steps, "done"]


def test_what_is_noted_so_far_keeps_the_time_limit_and_is_no_report_yet(office: Office) -> None:
    office.put(job(1, "A-1"))
    run_id = office.app.resync.request("A-1", 50)
    office.app.resync._tell(run_id, [])
    with office.app.db.read() as conn:
        run = runs.existing(conn, run_id)
    assert run.details == {"job": "A-1", "timeout_seconds": 50, SO_FAR: []}
    assert reports_of(run) == reports_so_far(run) == []


def test_a_run_that_is_not_this_jobs_resync_is_not_shown(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    run_id = office.app.resync.request("A-2")
    assert read(office, 2, run_id).progress is not None
    assert read(office, 1, run_id).progress is None
    assert read(office, 1, 1).progress is None  # a fetch
    assert read(office, 1, 999_999).progress is None
