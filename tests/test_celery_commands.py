"""Celery's own commands from the repository root, and what the app promises them."""

from __future__ import annotations

import ast
import importlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from celery.app import defaults

from cprqueue import config
from cprqueue.celery import QUEUES, ROUTES, app, celery_settings
from cprqueue.cli.up import free_port
from cprqueue.mapping import read_job
from cprqueue.models import Job
from cprqueue.sandbox import dataset
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import PATIENT, ROOT, System, Up, celery

NAMES = {
    "cpr.fetch_jobs",
    "cpr.insert_job",
    "cpr.upsert_job",
    "cpr.resync_job",
    "cpr.sweep",
    "cpr.snapshot_and_prune",
    "cpr.snapshot_export",
    "cpr.prune_inactive",
    "cpr.remove_all",
}
LONGEST_BODY_LINES = 20


@pytest.fixture(scope="module")
def up(small_system: System) -> Iterator[Up]:
    with small_system.up("--no-beat", "--flower-port", "0") as running:
        yield running


def test_call_gives_an_order(small_system: System, up: Up) -> None:
    with celery(small_system, "call", "cpr.fetch_jobs", "--kwargs", '{"full": true}') as call:
        said, _ = call.communicate(timeout=60)
    assert call.returncode == 0, said
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
    tasks = shown()
    inserts = [task["args"] for task in tasks if task["name"] == "cpr.insert_job"]
    assert "RM job 1011 (BMS-25-00008M)" in inserts
    assert {task["name"] for task in tasks} <= NAMES
    everything = json.dumps(tasks, ensure_ascii=False)
    streets = {job["jobAddress1"] for job in small_system.sandbox.rm.jobs() if job["jobAddress1"]}
    assert len(streets) > 40
    assert [street for street in streets if street in everything] == []


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


@pytest.mark.parametrize("broker", ["", "redis://127.0.0.1:6379/0", "amqp://127.0.0.1//"])
def test_every_setting_is_one_that_celery_knows(broker: str) -> None:
    names = celery_settings(config.load({"CELERY_BROKER_URL": broker}))
    assert set(names) <= set(defaults.SETTING_KEYS)  # Celery takes any other one in silence


def test_every_scheduled_and_every_routed_task_exists() -> None:
    importlib.import_module("celerybeat-schedule")
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    ours = {name for name in app.tasks if name.startswith("cpr.")}
    assert scheduled <= ours <= set(ROUTES)
    assert {route["queue"] for route in ROUTES.values()} == set(QUEUES)
    assert set(ROUTES) == NAMES


def test_scheduled_orders_survive_json_and_expire() -> None:
    for entry in app.conf.beat_schedule.values():
        kwargs = entry.get("kwargs", {})
        assert json.loads(json.dumps(kwargs)) == kwargs
        assert entry["options"]["expires"] > 0


@pytest.mark.parametrize("item", dataset.make_jobs(120), ids=lambda item: str(item["jobId"]))
def test_every_job_survives_its_message(item: dict[str, Any]) -> None:
    job = read_job(item)
    assert Job.from_message(json.loads(json.dumps(job.as_message()))) == job


def task_bodies() -> list[tuple[str, int]]:
    """Return each task with the number of lines that its body has, docstring left out."""
    found = []
    for path in sorted((ROOT / "workers").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                body = node.body[1:] or node.body
                found.append((node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1))
    return found


def test_tasks_only_parse_call_and_translate() -> None:
    bodies = dict(task_bodies())
    assert len(bodies) >= 8
    assert max(bodies.values()) <= LONGEST_BODY_LINES, bodies
    assert sorted(bodies.values())[len(bodies) // 2] <= 8, bodies


def test_the_timetable_is_in_the_repository() -> None:
    assert Path(ROOT / "celerybeat-schedule.py").is_file()
    done = subprocess.run(["git", "check-ignore", "celerybeat-schedule.py"], cwd=ROOT, check=False)
    assert done.returncode != 0  # a stock Python .gitignore would swallow it
