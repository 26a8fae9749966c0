"""The commands ``fetch`` and ``import``."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from cprqueue.store import locks, runs
from cprqueue.store.database import clock
from tests.office import Office, job, written
from tests.running import System

ITEMS = [job(1, "A-1"), job(2, "A-2"), job(3, "A-3", jobProgress="Lost Lead")]

pytestmark = pytest.mark.rm_jobs(*ITEMS)


def asked_since(sandbox: Sandbox) -> list[str]:
    return [call.query["ModifiedSince"][:10] for call in sandbox.calls if call.path == "/api/Jobs"]


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
        ({"kind": "status", "status": 403}, 3, "403: Forbidden: check RM_USERNAME"),
        ({"kind": "html", "path": "/api/Jobs"}, 1, "not JSON"),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_the_old_file(
    system: System, fault: dict[str, Any], code: int, words: str
) -> None:
    old = written(system.directory, "old", "mine.json")
    system.sandbox.client.set_faults([{"service": "rm", **fault}])
    done = system.run("fetch", "--output", str(old))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert words in done.stderr
    assert old.read_text() == "old"
    assert not list(system.directory.glob("*.part"))


def test_fetch_without_settings_names_each_missing_one(system: System) -> None:
    done = system.run("fetch", RM_BASE_URL="", RM_PASSWORD="")
    assert done.returncode == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["RM_BASE_URL", "RM_PASSWORD"]


def test_fetch_into_a_directory_is_refused_before_anything_is_asked(system: System) -> None:
    done = system.run("fetch", "--output", str(system.directory))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not system.sandbox.calls


def test_an_import_counts_what_is_new_changed_and_unchanged(system: System) -> None:
    first = system.run("import", str(written(system.directory, ITEMS, age_seconds=20)))
    assert first.stdout == (
        "3 jobs: 3 new, 0 changed, 0 unchanged; 2 active, 1 inactive; 2 due for QuickBooks Time\n"
    )
    items = [*ITEMS[:2], job(3, "A-3"), job(4, "A-4"), {"jobJobId": "no id"}, 7]
    second = system.run("import", str(written(system.directory, items, age_seconds=10)))
    third = system.run("import", str(written(system.directory, ITEMS[2:], age_seconds=20)))
    assert "0 unchanged, 1 older than the record" in third.stdout
    assert second.stdout == (
        "4 jobs: 1 new, 1 changed, 2 unchanged; 4 active, 0 inactive; "
        "2 in the list could not be read and stay as they are: job number no id (item 5), item 6; "
        "2 due for QuickBooks Time\n"
    )
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")


def test_what_was_fetched_can_be_imported_and_pushed(system: System, office: Office) -> None:
    assert system.run("fetch").returncode == 0
    assert system.run("import", str(system.var / "cpr_all_jobs.json")).returncode == 0
    office.push()
    counts = {"active": 2, "in_sync": 2, "due": 0, "parked": 0, "held": 0, "inactive": 1}
    assert office.counts() == counts
    assert office.broken() == []


def test_such_a_file_is_one_line_and_changes_nothing(system: System, office: Office) -> None:
    done = system.run("import", str(written(system.directory, '[{"jobId": 1}, {"jobId"')))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nothing was changed" in done.stderr
    with office.app.db.read() as conn:
        assert runs.newest_few(conn, None, limit=9) == []
    assert office.row(1) is None


def test_a_directory_is_no_file(system: System) -> None:
    done = system.run("import", str(system.directory))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_no_address_reaches_what_an_import_prints(system: System) -> None:
    done = system.run(
        "import", str(written(system.directory, [*ITEMS, {"jobAddress1": "1 Main Street"}]))
    )
    assert "Main Street" not in done.stdout + done.stderr
