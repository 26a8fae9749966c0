"""The clock of beat's or of a worker's machine is set: nothing waits for it to come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kombu.message import Message

from cprqueue.celery import app
from cprqueue.runtime.beat_state import Scheduler
from cprqueue.runtime.requests import COUNTDOWN, Request

HOUR = timedelta(hours=1)


@pytest.fixture
def beat(tmp_path: Path) -> Scheduler:
    app.loader.import_default_modules()
    return Scheduler(app, schedule_filename=str(tmp_path / "schedule"), lazy=True)


def test_beat_goes_on_within_a_minute_where_its_clock_was_set_back(beat: Scheduler) -> None:
    beat.setup_schedule()
    before = datetime.now(UTC) + HOUR
    for entry in beat.schedule.values():
        entry.last_run_at = before
    beat.populate_heap()
    assert beat.tick() <= 60
    assert all(entry.last_run_at <= datetime.now(UTC) for entry in beat.schedule.values())
    beat.close()


@pytest.mark.parametrize(("countdown", "ahead"), [(2, HOUR), (2, -HOUR), (0.5, timedelta(days=9))])
def test_a_countdown_takes_no_longer_whatever_the_senders_clock_says(
    countdown: float, ahead: timedelta
) -> None:
    sent = datetime.now(UTC) + ahead + timedelta(seconds=countdown)
    found = request(eta=sent.isoformat(), **{COUNTDOWN: countdown})
    assert found.eta is not None
    assert found.eta <= datetime.now(UTC) + timedelta(seconds=countdown)


def test_a_moment_without_a_countdown_is_left_alone() -> None:
    at = datetime.now(UTC) + HOUR
    assert request(eta=at.isoformat()).eta == at
    assert request().eta is None


def request(**more: object) -> Request:
    app.loader.import_default_modules()
    headers = {"id": "1", "task": "cpr.sweep", **more}
    return Request(
        Message(headers=headers), app=app, decoded=True, headers=headers, body=([], {}, {})
    )
