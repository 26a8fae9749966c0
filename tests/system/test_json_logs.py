"""With CPR_LOG_FORMAT=json every line of every program is one JSON object, from the first on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import PATIENT, System, Up, celery
from tests.system.test_up import main_process


def read(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the objects that the lines are; fail for a line that is none."""
    found = [json.loads(line) for line in lines]
    assert all(isinstance(entry, dict) for entry in found)
    return found


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with Sandbox(jobs=60) as sandbox:
        where = tmp_path_factory.mktemp("json")
        yield System(where, sandbox, CPR_LOG_FORMAT="json", CPR_LEASE_SECONDS="4")


@pytest.fixture(scope="module")
def up(system: System) -> Iterator[Up]:
    with system.up("--flower-port", "0") as running:
        yield running


def told(up: Up, event: str, **fields: object) -> list[dict[str, Any]]:
    """Return the lines with this event and these fields."""
    return [e for e in read(list(up.err)) if e["event"] == event and fields.items() <= e.items()]


def test_a_run_is_told_from_its_begin_to_its_end(system: System, up: Up) -> None:
    run_id = system.sync("--full")["run_id"]
    [began] = told(up, "run began", kind="fetch", run_id=run_id)
    assert (began["program"], began["task"]) == ("fetch", "cpr.fetch_jobs")
    wait_until(lambda: told(up, "run ended", run_id=run_id))
    [ended] = told(up, "run ended", run_id=run_id)
    assert (ended["state"], ended["emitted"], ended["recorded"]) == ("done", 60, 60)
    assert ended["seconds"] > 0
    assert ended["task_id"]
    batches = told(up, "batch pushed", task="cpr.upsert_job")
    assert sum(entry["in_step"] for entry in batches) > 20


def test_a_snapshot_says_how_many_calls_it_took(system: System, up: Up) -> None:
    before = len(system.sandbox.call_log.select("qbt"))
    assert system.run("snapshot").returncode == 0
    made = len(system.sandbox.call_log.select("qbt")) - before
    wait_until(lambda: told(up, "run ended", kind="snapshot", calls=made))
    assert told(up, "run began", kind="snapshot", task="cpr.snapshot_export")


def test_a_broker_killed_in_mid_work_is_no_traceback(system: System, up: Up) -> None:
    slow = {"service": "qbt", "path": "/jobcodes", "kind": "slow", "seconds": 2}
    system.sandbox.faults.set([slow])
    snapshots = len(told(up, "run ended", kind="snapshot"))
    system.run("resync", "BMS-25-00008M", "--no-wait")
    system.run("snapshot", "--no-wait")
    wait_until(lambda: told(up, "run began", kind="resync"), **PATIENT)
    wait_until(lambda: len(told(up, "run began", kind="snapshot")) > snapshots, **PATIENT)
    os.kill(main_process(system, "broker"), signal.SIGKILL)
    wait_until(lambda: up.heard("broker is back"), **PATIENT)
    wait_until(lambda: told(up, "run ended", kind="resync"), **PATIENT)
    wait_until(lambda: len(told(up, "run ended", kind="snapshot")) > snapshots, **PATIENT)
    wait_until(lambda: up.heard("Connection to broker lost"), **PATIENT)
    system.sandbox.faults.set([])
    assert system.sync()["due"] == 0
    assert [entry for entry in read(list(up.err)) if "exception" in entry] == []
    assert up.heard("Traceback") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("worker", "-Q", "urgent", "-c", "1", "-n", "extra@%h", "-l", "info"),
        ("beat", "--schedule", "{var}/extra-beat", "--pidfile=", "-l", "info"),
    ],
    ids=["worker", "beat"],
)
def test_celerys_own_commands_say_nothing_else(
    system: System, up: Up, words: tuple[str, ...]
) -> None:
    command = celery(system, *(word.format(var=system.var) for word in words))
    with killed_at_the_end(command):
        assert command.stdout is not None
        lines = []
        for line in command.stdout:
            lines.append(line)
            if "at work" in line:
                break
        command.send_signal(signal.SIGTERM)
        rest, _ = command.communicate(timeout=60)
    assert command.returncode == 0, rest
    assert read([*lines, *rest.splitlines()])


def test_wrong_settings_are_lines_of_json_as_well(system: System, tmp_path: Path) -> None:
    wrong = {"RM_PASSWORD": "", "QBT_ACCESS_TOKEN": "", "CPR_VAR_DIR": str(tmp_path)}
    with celery(system, "worker", "-Q", "fetch", "-c", "1", **wrong) as worker:
        said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert [entry["level"] for entry in read(said.splitlines())] == ["ERROR", "ERROR"]
    with celery(system, "beat", CPR_TIMEZONE="Mars") as beat:
        said, _ = beat.communicate(timeout=60)
    assert len(read(said.splitlines())) == 1
    done = system.run("up", **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(read(done.stderr.splitlines())) == 2


def test_up_ends_in_json_as_well(up: Up) -> None:
    assert up.stop() == 0
    assert read(up.err)
    assert up.out == ["ready\n"]
