"""The commands ``status``, ``failures``, ``retry`` and ``history``."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.office import Office, job
from tests.real_processes import wait_until
from tests.running import System

TOO_LONG = "X" * 65

pytestmark = pytest.mark.usefixtures("office")  # the tables


def test_status_counts_jobs_by_state_as_one_json_document(system: System, office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2", jobProgress="Lost Lead"), job(3, TOO_LONG))
    office.record([job(4, "A-4")])
    done = system.run("status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    counts = {"active": 3, "in_sync": 1, "due": 1, "parked": 1, "held": 0, "inactive": 1}
    assert found["jobs"] == counts
    assert found["budget"]["limit"] - found["budget"]["free"] == len(
        [call for call in office.sandbox.calls if call.service == "qbt"]
    )
    assert found["fetch_succeeded"]["run_id"] == 1
    assert found["snapshot"]["kind"] == "snapshot"
    assert found["push_stopped"] is None


def test_status_is_readable_on_80_columns(system: System, office: Office) -> None:
    office.put(job(1, "A-1"), job(3, TOO_LONG))
    done = system.run("status", COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("2 active, 0 inactive", "1 in step, 0 due, 1 parked", "of 300 free", "run 1"):
        assert words in done.stdout


def test_a_broker_that_is_away_is_a_warning_not_a_trace(system: System) -> None:
    done = system.run("status", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["broker"]["workers"] == []
    assert "the embedded broker is not running: start `cprqueue up`" in found["warnings"]


def test_a_broker_that_never_answers_is_given_up_soon_and_its_password_not_shown(
    system: System,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://:hidden@127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        done = system.run("status", CELERY_BROKER_URL=url)
    assert time.monotonic() - began < 20
    assert done.returncode == 0
    assert "does not answer" in done.stdout
    assert "hidden" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_without_tables_the_cure_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with Sandbox(jobs=[]) as sandbox:
        done = System(tmp_path / "new", sandbox).run("status")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "start `cprqueue up` once" in done.stderr


def test_a_database_that_is_away_is_one_line_and_exit_3(system: System) -> None:
    url = "postgresql+psycopg://user:hidden@127.0.0.1:1/none"
    done = system.run("status", "--json", DATABASE_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert json.loads(done.stdout)["exit"] == 3
    assert "hidden" not in done.stdout + done.stderr


def test_failures_lists_parked_and_retrying_jobs_with_their_reasons(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"), job(2, TOO_LONG))
    office.app.push.work.retry_base *= 1_000_000
    office.sandbox.client.set_faults([{"kind": "status", "service": "qbt", "method": "PUT"}])
    office.record([job(1, "A-2")])
    office.ring()
    found = json.loads(system.run("failures", "--json").stdout)
    parked, waiting = found
    assert set(parked) == {
        "job_id",
        "job_number",
        "state",
        "code",
        "reason",
        "attempts",
        "next_attempt_at",
    }
    assert (parked["job_id"], parked["state"], parked["code"]) == (2, "parked", "name_too_long")
    assert parked["next_attempt_at"] is None
    assert (waiting["job_number"], waiting["state"], waiting["attempts"]) == ("A-2", "due", 1)
    assert waiting["next_attempt_at"] > "2020"
    assert "answered 503" in waiting["reason"]


def test_no_failures_is_an_empty_list_or_a_sentence(system: System) -> None:
    assert json.loads(system.run("failures", "--json").stdout) == []
    assert system.run("failures").stdout == "no job is parked, held or failing\n"


def test_failures_as_a_table_names_the_job_and_the_reason(system: System, office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "a-1"))
    done = system.run("failures", COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "a-1" in done.stdout
    assert "has the same number" in done.stdout
    assert "cprqueue retry" in done.stderr


def test_without_a_broker_retry_makes_the_jobs_due_and_says_that_nobody_heard(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"), job(2, TOO_LONG), job(3, TOO_LONG + "Y"))
    done = system.run("retry", "2")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "1 due now\n", 1)
    assert [office.link(n).state for n in (1, 2, 3)] == ["in_sync", "due", "parked"]
    system.run("retry", "--all")
    assert [office.link(n).state for n in (1, 2, 3)] == ["in_sync", "due", "due"]


def test_retry_takes_a_number_and_leaves_a_job_in_step_alone(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"))
    done = system.run("retry", "a-1")
    assert (done.returncode, done.stdout) == (0, "0 due now\n")
    assert "neither parked nor due" in done.stderr


@pytest.mark.parametrize("words", [("2", "nobody"), (), ("2", "--all")])
def test_a_retry_that_is_not_understood_is_exit_2_and_changes_nothing(
    system: System, office: Office, words: tuple[str, ...]
) -> None:
    office.put(job(2, TOO_LONG))
    done = system.run("retry", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert office.link(2).state == "parked"


def test_with_workers_status_sees_them_and_retry_gets_the_job_pushed(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.client.set_faults(
        [{"kind": "items", "service": "qbt", "method": "PUT", "code": 417, "item_share": 1}]
    )
    office.record([job(1, "A-2")])
    office.push()
    assert office.link(1).state == "parked"
    office.sandbox.client.clear_faults()
    with system.up("--no-beat", "--no-flower"):
        found = json.loads(system.run("status", "--json").stdout)
        assert len(found["broker"]["workers"]) == 5
        assert set(found["broker"]["queues"]) >= {"fetch", "insert", "upsert", "urgent"}
        checked = json.loads(system.run("check", "--json").stdout)["checks"]
        states = {one["name"]: one["state"] for one in checked}
        assert (states["broker"], states["queues"]) == ("ok", "ok")
        assert system.run("retry", "A-2").returncode == 0
        wait_until(lambda: office.link(1).state == "in_sync")


def history(system: System, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(system.run("history", "--json", *words).stdout)
    return found


def test_history_shows_the_newest_run_first_with_its_counts(system: System, office: Office) -> None:
    assert system.run("history").stdout == "no run yet: start one with `cprqueue sync`\n"
    office.put(job(1, "A-1"))
    path = system.directory / "jobs.json"
    path.write_text(json.dumps([job(1, "A-1"), job(2, "A-2")]))
    system.run("import", str(path))
    found = history(system)
    assert [run["kind"] for run in found] == ["import", "snapshot", "fetch"]
    assert (found[0]["emitted"], found[0]["recorded"], found[0]["state"]) == (2, 2, "done")
    assert [run["kind"] for run in history(system, "--limit", "1")] == ["import"]
    assert "import" in system.run("history").stdout


def test_a_limit_that_makes_no_sense_is_exit_2(system: System) -> None:
    assert system.run("history", "--limit", "0").returncode == 2
