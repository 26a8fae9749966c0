"""The two steps by hand: RestorationManager to a file, and a file to the record."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cprqueue.errors import ServiceFailed, ServiceUnreachable, UnreadableAnswer, UsageError
from cprqueue.records import RunKind, RunState
from cprqueue.sandbox.server import Sandbox
from cprqueue.services import files
from cprqueue.services.closing import close_finished
from cprqueue.services.pull import next_since
from cprqueue.store import jobs, locks, runs
from cprqueue.store.database import clock
from tests.office import Office, job
from tests.running import System

ITEMS = [job(1, "A-1"), job(2, "A-2"), job(3, "A-3", jobProgress="Lost Lead")]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(jobs=ITEMS) as made:
        yield made


@pytest.fixture
def system(sandbox: Sandbox, tmp_path: Path) -> System:
    return System(tmp_path, sandbox)


@pytest.fixture
def office(sandbox: Sandbox, system: System) -> Iterator[Office]:
    """The services on the same database that the commands use."""
    made = Office(sandbox, system.var)
    yield made
    made.close()


def written(system: System, items: Any, name: str = "jobs.json", *, age_seconds: float = 0) -> Path:
    """Write a file as if that long ago."""
    path = system.directory / name
    path.write_text(items if isinstance(items, str) else json.dumps(items), encoding="utf-8")
    moment = time.time() - age_seconds
    os.utime(path, (moment, moment))
    return path


def asked_since(sandbox: Sandbox) -> list[str]:
    return [call.query["ModifiedSince"][:10] for call in sandbox.calls if call.path == "/api/Jobs"]


# --- fetch --------------------------------------------------------------------------------


def test_the_first_fetch_writes_all_jobs_and_records_none(system: System, office: Office) -> None:
    done = system.run("fetch")
    path = system.var / "cpr_all_jobs.json"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"3 jobs, all that there are: {path}\n"
    assert [item["jobId"] for item in json.loads(path.read_text())] == [1, 2, 3]
    assert office.row(1) is None


def test_fetch_needs_no_database_made_before(system: System) -> None:
    assert system.run("fetch").returncode == 0


def test_fetch_writes_to_the_file_that_is_named(system: System) -> None:
    path = system.directory / "new" / "mine.json"
    assert system.run("fetch", "--output", str(path)).returncode == 0
    assert len(json.loads(path.read_text())) == 3
    assert not (system.var / "cpr_all_jobs.json").exists()


def test_after_a_fetch_that_is_done_only_changes_are_asked_for_unless_all_are_wanted(
    system: System, office: Office
) -> None:
    office.fetch()
    assert "changed since" in system.run("fetch").stdout
    assert "all that there are" in system.run("fetch", "--full").stdout
    assert (system.var / "cpr_changed_jobs.json").exists()
    incremental, full = asked_since(office.sandbox)
    assert (incremental > "2020", full) == (True, "2014-12-22")


def test_a_fetched_file_is_dated_when_it_was_asked_for(system: System) -> None:
    system.sandbox.rm.switches.update({"drip_seconds": 1.5})
    assert system.run("fetch").returncode == 0
    asked = system.sandbox.calls[-1].at
    assert (system.var / "cpr_all_jobs.json").stat().st_mtime == pytest.approx(asked, abs=0.7)


def test_while_a_worker_fetches_the_command_says_so_and_does_nothing(
    system: System, office: Office
) -> None:
    with office.app.db.begin() as conn:
        locks.take(conn, locks.FETCH, "a worker", now=clock(conn), limit=timedelta(minutes=1))
    done = system.run("fetch")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "another fetch is running" in done.stderr
    assert not system.sandbox.calls


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({"kind": "cut", "path": "/api/Jobs"}, 3, "cut short"),
        ({"kind": "status", "status": 403}, 3, "answered 403"),
        ({"kind": "html", "path": "/api/Jobs"}, 1, "not JSON"),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_the_old_file(
    system: System, fault: dict[str, Any], code: int, words: str
) -> None:
    old = written(system, "old", "mine.json")
    system.sandbox.client.set_faults([{"service": "rm", **fault}])
    done = system.run("fetch", "--output", str(old))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert words in done.stderr
    assert old.read_text() == "old"
    assert not list(system.directory.glob("*.part"))


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


def fetched(office: Office, path: Path) -> files.Fetched:
    return files.fetch_file(office.app.pull, full=True, output=path, loaded=silent, counted=silent)


def silent(_so_far: int) -> None:
    """Hear how far the work has come, and say nothing."""


def test_fetch_without_settings_names_each_missing_one(system: System) -> None:
    done = system.run("fetch", RM_BASE_URL="", RM_PASSWORD="")
    assert done.returncode == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["RM_BASE_URL", "RM_PASSWORD"]


def test_fetch_into_a_directory_is_refused_before_anything_is_asked(system: System) -> None:
    done = system.run("fetch", "--output", str(system.directory))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not system.sandbox.calls


# --- import -------------------------------------------------------------------------------


def imported(office: Office, path: Path) -> files.Imported:
    work = files.Import(office.app.db, office.app.rules)
    return work.run(path, work.open(path), recorded=silent)


def test_an_import_counts_what_is_new_changed_and_unchanged(system: System) -> None:
    first = system.run("import", str(written(system, ITEMS, age_seconds=20)))
    assert first.stdout == (
        "3 jobs: 3 new, 0 changed, 0 unchanged; 2 active, 1 inactive; 2 due for QuickBooks Time\n"
    )
    items = [*ITEMS[:2], job(3, "A-3"), job(4, "A-4"), {"jobJobId": "no id"}, 7]
    second = system.run("import", str(written(system, items, age_seconds=10)))
    third = system.run("import", str(written(system, ITEMS[2:], age_seconds=20)))
    assert "0 unchanged, 1 older than the record" in third.stdout
    assert second.stdout == (
        "4 jobs: 1 new, 1 changed, 2 unchanged; 4 active, 0 inactive; "
        "2 items without a job id left out; 2 due for QuickBooks Time\n"
    )
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")


@pytest.mark.parametrize("wrapping", ["results", "jobs", "value", "Results"])
def test_the_list_may_be_wrapped(system: System, office: Office, wrapping: str) -> None:
    assert imported(office, written(system, {"count": 3, wrapping: ITEMS})).new == 3


def test_what_was_fetched_can_be_imported_and_pushed(system: System, office: Office) -> None:
    assert system.run("fetch").returncode == 0
    assert system.run("import", str(system.var / "cpr_all_jobs.json")).returncode == 0
    office.push()
    assert office.counts() == {"active": 2, "in_sync": 2, "due": 0, "parked": 0, "inactive": 1}
    assert office.broken() == []


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
    system: System, office: Office, content: str | None, words: str
) -> None:
    path = system.directory / "missing.json" if content is None else written(system, content)
    with pytest.raises(UsageError, match=words):
        files.Import(office.app.db, office.app.rules).open(path)


def test_such_a_file_is_one_line_and_changes_nothing(system: System, office: Office) -> None:
    done = system.run("import", str(written(system, '[{"jobId": 1}, {"jobId"')))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nothing was changed" in done.stderr
    with office.app.db.read() as conn:
        assert runs.newest_few(conn, None, limit=9) == []
    assert office.row(1) is None


def test_a_directory_is_no_file(system: System) -> None:
    done = system.run("import", str(system.directory))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_file_older_than_the_record_changes_nothing(system: System, office: Office) -> None:
    office.fetch()
    path = written(system, [job(1, "RENAMED"), job(9, "A-9")], age_seconds=60)
    done = imported(office, path)
    assert (done.new, done.changed, done.unchanged, done.older) == (1, 0, 0, 1)
    assert office.row(1).job_number == "A-1"


def test_a_file_from_the_future_counts_as_from_now(system: System, office: Office) -> None:
    path = written(system, [job(1, "FUTURE")], age_seconds=-86400)
    imported(office, path)
    office.fetch()
    assert office.row(1).job_number == "A-1"


def test_of_a_job_that_is_in_the_file_twice_the_last_counts(system: System, office: Office) -> None:
    done = imported(office, written(system, [job(1, "OLD"), job(2, "A-2"), job(1, "NEW")]))
    assert (done.jobs, done.new) == (2, 2)
    assert office.row(1).job_number == "NEW"


def test_an_import_is_a_run_but_never_counts_as_a_fetch(system: System, office: Office) -> None:
    office.fetch()
    with office.app.db.read() as conn:
        before = next_since(conn)
    imported(office, written(system, [job(9, "A-9")]))
    with office.app.db.begin() as conn:
        (run,) = runs.newest_few(conn, RunKind.IMPORT, limit=2)
        assert (run.state, run.emitted, run.recorded, run.complete) == ("done", 1, 1, False)
        assert next_since(conn) == before
        close_finished(conn, now=clock(conn))
    assert office.counts()["active"] == 3
    assert [office.row(n).seen_run_id for n in (1, 9)] == [1, 0]


def test_an_import_does_not_pass_for_what_a_running_fetch_still_has_to_record(
    system: System, office: Office
) -> None:
    with office.app.db.begin() as conn:
        now = clock(conn)
        run_id = runs.create(conn, RunKind.FETCH, now=now, state=RunState.EMITTED, complete=True)
        runs.change(conn, run_id, emitted=3, observed_at=now)
    imported(office, written(system, ITEMS))
    assert office.app.pull.close()


def test_an_old_file_brings_no_vanished_job_back(system: System, office: Office) -> None:
    office.fetch()
    path = written(system, ITEMS)
    with office.app.db.begin() as conn:
        now = clock(conn) + timedelta(seconds=5)
        gone = jobs.mark_vanished(conn, 99, observed_at=now, now=now, rule="vanished: test")
    assert set(gone) == {1, 2}
    assert imported(office, path).older == 2
    assert not office.row(1).active


def test_no_address_reaches_what_an_import_prints(system: System) -> None:
    done = system.run("import", str(written(system, [*ITEMS, {"jobAddress1": "1 Main Street"}])))
    assert "Main Street" not in done.stdout + done.stderr
