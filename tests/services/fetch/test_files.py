"""The two steps by hand: RestorationManager to a file, and a file to the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import ServiceFailed, ServiceUnreachable, UnreadableAnswer, UsageError
from cprqueue.services.fetch import job_files
from cprqueue.services.fetch.closing import close_finished
from cprqueue.services.fetch.fetch import next_since
from cprqueue.store import jobs, runs, sightings
from cprqueue.store.database import clock
from tests.office import Office, job, written

ITEMS = [job(1, "A-1"), job(2, "A-2"), job(3, "A-3", jobProgress="Lost Lead")]

pytestmark = pytest.mark.rm_jobs(*ITEMS)


# --- fetch --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ({"kind": "drop"}, ServiceUnreachable, "connection"),
        ({"kind": "status", "status": 500}, ServiceFailed, "answered 500"),
        ({"kind": "garbled", "body": "[]"}, UnreadableAnswer, "no job at all"),
        ({"kind": "garbled", "body": '{"a": 1}'}, UnreadableAnswer, "not a list of jobs"),
        ({"kind": "garbled", "body": "[1, {}]"}, UnreadableAnswer, "holds no jobs"),
    ],
)
def test_whatever_is_wrong_with_an_answer_the_next_fetch_may_begin_at_once(
    office: Office, fault: dict[str, Any], error: type[Exception], words: str
) -> None:
    office.sandbox.client.set_faults([{"service": "rm", "path": "/api/Jobs", **fault}])
    path = office.settings.var_dir / "jobs.json"
    with pytest.raises(error, match=words):
        fetched(office, path)
    assert not list(path.parent.glob("jobs*"))
    office.sandbox.client.clear_faults()
    assert fetched(office, path).jobs == 3


def fetched(office: Office, path: Path) -> job_files.Fetched:
    return job_files.fetch_file(
        office.app.fetch, full=True, output=path, loaded=silent, counted=silent
    )


def silent(_so_far: int) -> None:
    """Hear how far the work has come, and say nothing."""


# --- import -------------------------------------------------------------------------------


def imported(office: Office, path: Path) -> job_files.Imported:
    work = job_files.Import(office.app.db, office.app.rules, office.app.push_limits)
    return work.run(path, work.open(path), recorded=silent)


@pytest.mark.parametrize("wrapping", ["results", "jobs", "value", "Results"])
def test_the_list_may_be_wrapped(tmp_path: Path, office: Office, wrapping: str) -> None:
    assert imported(office, written(tmp_path, {"count": 3, wrapping: ITEMS})).new == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "is empty"),
        ("no json", "not JSON"),
        ('[{"jobId": 1, "jobJobId": "A-1"}, {"jobId"', "cut short"),
        ('{"jobId": 1}', "not a list of jobs"),
        ("17", "not a list of jobs"),
        ('[{"name": "x"}]', "holds no jobs"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_to_be_so(
    tmp_path: Path, office: Office, content: str | None, words: str
) -> None:
    path = tmp_path / "missing.json" if content is None else written(tmp_path, content)
    with pytest.raises(UsageError, match=words):
        job_files.Import(office.app.db, office.app.rules, office.app.push_limits).open(path)


def test_a_file_older_than_the_record_changes_nothing(tmp_path: Path, office: Office) -> None:
    office.fetch()
    path = written(tmp_path, [job(1, "RENAMED"), job(9, "A-9")], age_seconds=60)
    done = imported(office, path)
    assert (done.new, done.changed, done.unchanged, done.older) == (1, 0, 0, 1)
    assert office.row(1).job_number == "A-1"


def test_a_file_from_the_future_counts_as_from_now(tmp_path: Path, office: Office) -> None:
    path = written(tmp_path, [job(1, "FUTURE")], age_seconds=-86400)
    imported(office, path)
    office.fetch()
    assert office.row(1).job_number == "A-1"


def test_of_a_job_that_is_in_the_file_twice_the_last_counts(tmp_path: Path, office: Office) -> None:
    done = imported(office, written(tmp_path, [job(1, "OLD"), job(2, "A-2"), job(1, "NEW")]))
    assert (done.jobs, done.new) == (2, 2)
    assert office.row(1).job_number == "NEW"


def test_an_import_is_a_run_but_never_counts_as_a_fetch(tmp_path: Path, office: Office) -> None:
    office.fetch()
    with office.app.db.read() as conn:
        before = next_since(conn)
    imported(office, written(tmp_path, [job(9, "A-9")]))
    with office.app.db.begin() as conn:
        (run,) = runs.newest_few(conn, RunKind.IMPORT, limit=2)
        assert (run.state, run.emitted, run.recorded, run.complete) == ("done", 1, 1, False)
        assert next_since(conn) == before
        close_finished(conn, office.app.push_limits, now=clock(conn))
    assert office.counts()["active"] == 3
    assert [office.row(n).seen_run_id for n in (1, 9)] == [1, 0]


def test_an_import_does_not_pass_for_what_a_running_fetch_still_has_to_record(
    tmp_path: Path, office: Office
) -> None:
    with office.app.db.begin() as conn:
        now = clock(conn)
        run_id = runs.create(conn, RunKind.FETCH, now=now, state=RunState.RECORDING, complete=True)
        runs.change(conn, run_id, emitted=3, observed_at=now)
    imported(office, written(tmp_path, ITEMS))
    assert office.app.fetch.close()


def test_an_old_file_brings_no_vanished_job_back(tmp_path: Path, office: Office) -> None:
    office.fetch()
    path = written(tmp_path, ITEMS)
    with office.app.db.begin() as conn:
        asking, now = sightings.next_number(conn), clock(conn)
        gone = jobs.mark_vanished(conn, 99, asking=asking, now=now, rule="vanished: test")
    assert set(gone) == {1, 2}
    assert imported(office, path).older == 2
    assert not office.row(1).active
