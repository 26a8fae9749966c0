"""What the Celery app promises: its settings, timetable, messages and tasks."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery.app import defaults

from cprqueue import config
from cprqueue.celery import QUEUES, ROUTES, app, celery_settings
from cprqueue.domain.mapping import read_job
from cprqueue.domain.models import Job
from cprqueue.sandbox import dataset
from tests.running import ROOT, clean_environment

NAMES = {
    "cpr.fetch_jobs",
    "cpr.insert_job",
    "cpr.upsert_job",
    "cpr.resync_job",
    "cpr.sweep",
    "cpr.read_geocoding",
    "cpr.snapshot_and_prune",
    "cpr.snapshot_export",
    "cpr.prune_inactive",
    "cpr.remove_all",
    "cpr.undo",
}


LONGEST_BODY_LINES = 20


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


def load_timetable(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Load a timetable of its own in a process of its own; print the names of its entries."""
    (directory / "celerybeat-schedule.py").write_text(text, encoding="utf-8")
    code = (
        "from cprqueue.celery import app; from cprqueue.runtime import timetable as t; t.load(app)"
    )
    return subprocess.run(
        [sys.executable, "-c", f"{code}; print(*app.conf.beat_schedule)"],
        env=clean_environment(PYTHONPATH=str(ROOT)),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_timetable_in_the_working_directory_wins(tmp_path: Path) -> None:
    entry = {"mine": {"task": "cpr.sweep", "schedule": 5}}
    text = f"from cprqueue.celery import app\napp.conf.beat_schedule = {entry}\n"
    assert load_timetable(tmp_path, text).stdout == "mine\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nno such thing", "line 2: SyntaxError"),
        ("\n\nnonsense\n", "line 3: NameError: name 'nonsense' is not defined"),
        ("import a_module_of_nobody", "line 1: ModuleNotFoundError"),
        ("{'x': {'schedule': 5}}", "the entry 'x' needs a task and a schedule"),
        ("{'x': {'task': 'cpr.swep', 'schedule': 5}}", "the entry 'x' names no task: cpr.swep"),
        ("{'x': {'task': 'cpr.sweep', 'schedule': 5, 'expires': 3}}", "argument 'expires'"),
    ],
)
def test_a_broken_timetable_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    if text.startswith("{"):
        text = f"from cprqueue.celery import app\napp.conf.beat_schedule = {text}\n"
    done = load_timetable(tmp_path, text)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "celerybeat-schedule.py" in last
    assert said in last
    assert last.endswith("or move it away to use the timetable that cprqueue brings")


def test_the_timetable_is_in_the_repository() -> None:
    assert Path(ROOT / "celerybeat-schedule.py").is_file()
    done = subprocess.run(["git", "check-ignore", "celerybeat-schedule.py"], cwd=ROOT, check=False)
    assert done.returncode != 0  # a stock Python .gitignore would swallow it


def test_what_logs_before_celery_asks_how_to_saves_its_tracebacks(tmp_path: Path) -> None:
    """So Flower does, which never asks."""
    code = "import cprqueue.celery, logging\ntry: 1 / 0\n"
    code += "except ZeroDivisionError: logging.getLogger('tornado.application').exception('oh')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(CPR_VAR_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    [crash] = tmp_path.glob("crash-*.txt")
    [line] = done.stderr.splitlines()
    assert str(crash) in line
