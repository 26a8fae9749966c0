"""When beat last looked at the timetable, and how often it should; read without Celery."""

from __future__ import annotations

from pathlib import Path

from cprqueue import config

ROUND_SECONDS = 10.0
TICK_ROUNDS = 3


def round_seconds() -> float:
    """Return how often ``up`` asks its programs whether they are at work."""
    return float(config.test_hook("CPR_TEST_CANARY_SECONDS") or ROUND_SECONDS)


def tick_seconds() -> float:
    """Return how often beat looks at the timetable at least."""
    return TICK_ROUNDS * round_seconds()


def mark(schedule: str | Path) -> Path:
    """Return the file that beat marks, beside its state file."""
    return Path(schedule).with_name("tick")


def tick_age(var_dir: Path, now: float) -> float:
    """Return how long ago beat looked at the timetable, in seconds; 0 where that is not known.

    ``now``: this machine's monotonic clock, by which beat marks its file.
    """
    try:
        return now - mark(var_dir / "beat" / "schedule").stat().st_mtime
    except OSError:
        return 0.0
