"""Celery's own commands, run from the repository root."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from cprqueue.celery import ROUTES
from cprqueue.cli.up import free_port
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import PATIENT, System, Up, celery


@pytest.fixture(scope="module")
def up(small_system: System) -> Iterator[Up]:
    with small_system.up("--no-beat", "--flower-port", "0") as running:
        order(small_system)
        yield running


def order(small_system: System) -> None:
    with celery(small_system, "call", "cpr.fetch_jobs", "--kwargs", '{"full": true}') as call:
        said, _ = call.communicate(timeout=60)
    assert call.returncode == 0, said


def test_call_gives_an_order(small_system: System, up: Up) -> None:
    wait_until(lambda: len(active_jobcodes(small_system)) > 20, **PATIENT)
    assert all(code["assigned_to_all"] for code in active_jobcodes(small_system))


def active_jobcodes(system: System) -> list[dict[str, Any]]:
    return [code for code in system.sandbox.qbt.state()["jobcodes"] if code["active"]]


def test_flower_shows_readable_jobs_and_no_address(small_system: System, up: Up) -> None:
    url = next(line.split()[1] for line in up.err if line.startswith("Flower: "))

    def shown() -> list[dict[str, Any]]:
        found = requests.get(f"{url}api/tasks?limit=5000", timeout=10)
        assert found.status_code == 200
        return list(found.json().values())

    wait_until(lambda: sum(task["name"] == "cpr.insert_job" for task in shown()) >= 60, **PATIENT)
    wait_until(lambda: not unended(shown()), **PATIENT)  # each message of a batch as its own task
    tasks = shown()
    inserts = [task["args"] for task in tasks if task["name"] == "cpr.insert_job"]
    assert "RM job 1011 (BMS-25-00008M)" in inserts
    assert {task["name"] for task in tasks} <= set(ROUTES)
    assert not [task for task in tasks if task["args"] in ("", "()", "-")]
    assert "all jobs" in {task["args"] for task in tasks if task["name"] == "cpr.fetch_jobs"}
    everything = json.dumps(tasks, ensure_ascii=False)
    streets = {job["jobAddress1"] for job in small_system.sandbox.rm.jobs() if job["jobAddress1"]}
    assert len(streets) > 40
    assert [street for street in streets if street in everything] == []


def unended(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the insert tasks that Flower does not show from their receipt to their end."""
    inserts = [task for task in tasks if task["name"] == "cpr.insert_job"]
    times = ("received", "started", "succeeded")
    return [t for t in inserts if t["state"] != "SUCCESS" or not all(t[name] for name in times)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("worker", "-Q", "urgent", "-c", "1", "-n", "extra@%h", "-l", "info"), "at work"),
        (("beat", "--schedule", "{var}/extra-beat", "--pidfile=", "-l", "info"), "at work"),
        (("flower", "--address=127.0.0.1", "--port={port}"), "Visit me at"),
    ],
    ids=["worker", "beat", "flower"],
)
def test_each_program_runs_by_celerys_own_command(
    small_system: System, up: Up, words: tuple[str, ...], said: str
) -> None:
    values = {"var": small_system.var, "port": free_port(0)}
    command = celery(small_system, *(word.format(**values) for word in words))
    with killed_at_the_end(command):
        assert command.stdout is not None
        heard = next((line for line in command.stdout if said in line), "")
        if "flower" in words:  # it loses a signal that comes while it starts its threads
            wait_until(lambda: requests.get(f"http://127.0.0.1:{values['port']}", timeout=10).ok)
        command.send_signal(signal.SIGTERM)
        rest, _ = command.communicate(timeout=60)
    assert said in heard, rest
    assert command.returncode == 0, rest
    assert "Traceback" not in rest


def test_a_worker_without_settings_ends_with_a_line_for_each(small_system: System) -> None:
    words = ("worker", "-Q", "fetch", "-c", "1")
    with celery(small_system, *words, RM_PASSWORD="", QBT_ACCESS_TOKEN="") as worker:
        said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert said.splitlines() == [
        "RM_PASSWORD is not set: put it into .env",
        "QBT_ACCESS_TOKEN is not set: put it into .env",
    ]
