"""What ``health`` says of the signs, by the timetable."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind
from cprqueue.errors import AccessStopped
from cprqueue.runtime import timetable
from cprqueue.services import canaries, gates, health, signs, ticks
from cprqueue.services.signs import Signs
from cprqueue.store import runs
from tests.listening import by_the_minute
from tests.office import Office

MINUTE = timedelta(minutes=1)


def seen(office: Office) -> Signs:
    with office.app.db.read() as conn:
        return signs.read(conn, by_the_minute)


def bad(found: Signs) -> set[str]:
    checks = [*health.checks(found), health.queue_check(found, "fetch", busy=False)]
    return {check.name for check in checks if not check.ok}


def fetched(office: Office) -> Run:
    run_id = office.fetch()
    with office.app.db.read() as conn:
        return runs.existing(conn, run_id)


def test_a_new_installation_is_not_healthy_before_its_first_fetch(office: Office) -> None:
    assert bad(seen(office)) == {"fetch", "beat", "queue fetch"}
    ticks.note(office.app.db, by_beat=False)
    canaries.note(office.app.db, "fetch")
    assert bad(seen(office)) == {"fetch", "beat"}, "beat sent none of the sweeps"
    ticks.note(office.app.db, by_beat=True)
    fetched(office)
    assert bad(seen(office)) == set()
    gates.stop_push(office.app.db, AccessStopped("QuickBooks Time answered 402", 402))
    assert bad(seen(office)) == {"push"}


def test_three_turns_are_waited_for_and_a_fetch_that_moves_longer(office: Office) -> None:
    fetched(office)
    ticks.note(office.app.db, by_beat=True)
    canaries.note(office.app.db, "fetch")
    now = seen(office)
    assert bad(replace(now, now=now.now + 14 * MINUTE)) == set()
    late = replace(now, now=now.now + 16 * MINUTE)
    assert bad(late) == {"fetch", "beat", "queue fetch"}
    assert bad(replace(late, moving=frozenset({RunKind.FETCH}))) == {"beat"}
    assert health.queue_check(late, "fetch", busy=True).ok, "its worker answers and is at work"


@pytest.mark.parametrize(
    ("orders", "third"),
    [
        ([300], "2026-03-07T20:15+00:00"),
        ([timedelta(minutes=2), 3600], "2026-03-07T20:06+00:00"),
        ([crontab(hour=2, minute=10)], "2026-03-10T08:10+00:00"),  # summer time has begun
        ([crontab(minute="*/10", hour="6-12")], "2026-03-08T12:20+00:00"),
        ([], "2026-03-07T20:00+00:00"),
    ],
)
def test_the_third_turn_of_a_timetable(
    orders: list[object], third: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery("timetable")
    app.conf.timezone = "America/Denver"
    entries = {str(n): {"task": "cpr.sweep", "schedule": s} for n, s in enumerate(orders)}
    app.conf.beat_schedule = {**entries, "x": {"task": "cpr.other", "schedule": 1}}
    app.conf.task_routes = {"cpr.sweep": {}, "cpr.other": {}}
    monkeypatch.setitem(sys.modules, timetable.NAME, timetable)
    latest = timetable.latest(app)
    assert (
        latest("cpr.sweep", datetime(2026, 3, 7, 20, tzinfo=UTC)).isoformat("T", "minutes") == third
    )
