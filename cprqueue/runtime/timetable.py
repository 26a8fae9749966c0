"""Load the timetable: ``celerybeat-schedule.py`` in the working directory, or our own.

Our own lies beside the package, in a checkout and where cprqueue is installed.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import cprqueue
from cprqueue.errors import SettingsError

log = logging.getLogger(__name__)

NAME = "celerybeat-schedule"
MISSES = 3


def place() -> Path:
    """Return the file that is used."""
    here = Path.cwd() / f"{NAME}.py"
    return here if here.exists() else Path(cprqueue.__file__).parent.parent / here.name


def load(app: Any) -> None:
    """Give ``app`` its timetable, once. Raises SettingsError with one line where it is wrong."""
    path = place()
    try:
        if NAME not in sys.modules:
            _run(path)
        _check(app)
    except Exception as error:  # noqa: BLE001  (an operator's file may raise anything)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SettingsError(
            f"{path}{_line(error, path)}: {reason}: correct it, or move it away to use "
            "the timetable that cprqueue brings"
        ) from None


def latest(app: Any) -> Callable[[str, datetime], datetime]:
    """Return what says by when a task should have been carried out again after a moment.

    That is when the timetable has ordered it three times since; where the timetable is wrong, or
    does not order it, at once: whoever asks has a least time of its own.
    """
    try:
        load(app)
    except SettingsError as error:
        log.warning("the timetable cannot be read here", extra={"reason": str(error)})
        return lambda _task, since: since
    entries = list(app.conf.beat_schedule.values())

    def third(task: str, since: datetime) -> datetime:
        orders = [entry["schedule"] for entry in entries if entry["task"] == task]
        return min((_third_turn(app, order, since) for order in orders), default=since)

    return third


def _third_turn(app: Any, order: Any, since: datetime) -> datetime:
    from celery.schedules import crontab, maybe_schedule

    schedule = maybe_schedule(order, app=app)
    if not isinstance(schedule, crontab):
        return since + MISSES * getattr(schedule, "run_every", timedelta(days=1))
    moment = since
    for _ in range(MISSES):
        local, until, _now = schedule.remaining_delta(moment)
        moment = local + until
    return moment.astimezone(UTC)


def _run(path: Path) -> None:
    spec = spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    spec.loader.exec_module(module_from_spec(spec))


def _check(app: Any) -> None:
    """Raise where an entry is none, or orders a task of ours that does not exist."""
    from celery.beat import ScheduleEntry  # `up` imports this module, and seldom needs Celery

    for name, entry in app.conf.beat_schedule.items():
        if not isinstance(entry, Mapping) or not {"task", "schedule"} <= set(entry):
            raise ValueError(f"the entry {name!r} needs a task and a schedule")
        ScheduleEntry(**{**entry, "name": name, "app": app})
        if str(entry["task"]).startswith("cpr.") and entry["task"] not in app.conf.task_routes:
            raise ValueError(f"the entry {name!r} names no task: {entry['task']}")


def _line(error: Exception, path: Path) -> str:
    """Return where in the file it went wrong, if that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f" line {line}" if line else ""
