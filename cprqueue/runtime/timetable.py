"""Load the timetable: ``celerybeat-schedule.py`` in the working directory, or our own.

Our own lies beside the package, in a checkout and where cprqueue is installed.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import cprqueue
from cprqueue.errors import SettingsError

NAME = "celerybeat-schedule"


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
