"""The one sentence of the page Now, and what it is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cprqueue.services import signs
from cprqueue.services.health import Check
from cprqueue.services.reports import now
from cprqueue.services.reports.now import Level, Now
from cprqueue.store import activity, events
from cprqueue.store.database import clock
from tests.office import Office, job

QUEUES = [f"queue {name}" for name in ("fetch", "insert", "upsert")]


def state(office: Office, *failed: str) -> Now:
    """Return how things stand where these checks fail."""
    names = dict.fromkeys((*failed, "database"))
    checks = [Check(name=name, ok=name not in failed, text="see") for name in names]
    return now.read(office.app.db, office.app.budget, checks, None, began=datetime.now(UTC))


def test_where_nothing_is_wrong_and_nobody_is_waited_for_all_is_well(office: Office) -> None:
    office.put(job(1, "A-1"))
    found = state(office)
    assert (found.level, found.headline) == (Level.WELL, "All is well")
    assert found.status.jobs["in_sync"] == 1


def test_a_parked_job_waits_for_a_person(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "X" * 70))
    found = state(office)
    assert (found.level, found.headline) == (Level.WAITS, "All works; 1 parked job waits for you")
    [row] = found.parked
    assert row.job_id == 2
    assert "too long" in (row.error_reason or "")


@pytest.mark.parametrize(
    ("failed", "headline"),
    [
        (["push"], "Nothing is written to QuickBooks Time"),
        (["fetch", "beat"], "No jobs come from RestorationManager"),
        (["broker", *QUEUES], "The broker is out of reach"),
        (["beat", *QUEUES], "Nothing is at work"),
        (QUEUES[:1], "No worker takes what is in the queue fetch"),
        (["disk"], "The disk is nearly full"),
    ],
)
def test_what_is_wrong_is_said_in_the_offices_words(
    office: Office, failed: list[str], headline: str
) -> None:
    office.fetch()
    found = state(office, *failed)
    assert (found.level, found.headline) == (Level.WRONG, headline)
    assert [check.name for check in found.troubles] == failed


def test_before_the_first_fetch_nothing_is_called_broken(office: Office) -> None:
    found = state(office, "fetch")
    assert (found.level, found.headline) == (Level.WAITS, "Nothing was fetched yet")


def test_what_has_just_been_started_has_time_to_show_signs(office: Office) -> None:
    office.fetch()
    silent = [Check(name=name, ok=False, text="see") for name in ("beat", *QUEUES)]
    with office.app.db.read() as conn:
        at = clock(conn)
        seen = signs.read(conn, lambda _task, since: since)

    def read(began: datetime) -> Now:
        return now.read(office.app.db, office.app.budget, silent, seen, began=began)

    assert read(at).level is Level.WELL
    assert read(at - timedelta(minutes=6)).headline == "Nothing is at work"


def test_pushes_are_counted_by_the_hour_of_the_last_day_alone(office: Office) -> None:
    with office.app.db.begin() as conn:
        at = clock(conn)
        ages = (0, 0, 1, 23, 26)
        rows = [events.event(1, "pushed", "x", at=at - timedelta(hours=age)) for age in ages]
        events.add(conn, [*rows, events.event(1, "parked", "x", at=at)])
    with office.app.db.read() as conn:
        found = activity.pushed_by_hour(conn, at)
    assert [number for _, number in found] == [1, *[0] * 21, 1, 2]
    assert found[-1][0] == at.replace(minute=0, second=0, microsecond=0)
    assert all(begin.tzinfo is UTC or begin.utcoffset() == timedelta(0) for begin, _ in found)
    assert isinstance(found[0][0], datetime)
