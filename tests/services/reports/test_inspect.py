"""``status``, ``failures``, ``retry`` and ``history`` tell people how things stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cprqueue.domain.records import RunKind, RunState
from cprqueue.services.reports import overview
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.office import Office, job


def read_status(office: Office) -> overview.Status:
    return overview.read_status(office.app.db, office.app.budget)


# --- status -------------------------------------------------------------------------------


def test_a_stopped_push_a_failed_fetch_and_an_old_one_are_warned_of(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.switches.update({"force_status": 402})
    office.record([job(1, "A-2")])
    office.push()
    with office.app.db.begin() as conn:
        now = clock(conn)
        runs.change(conn, 1, observed_at=now - timedelta(hours=2))
        run_id = runs.create(conn, RunKind.FETCH, now=now, state=RunState.FAILED)
        runs.change(conn, run_id, note="RestorationManager's answer is empty")
    found = read_status(office)
    assert found.push_stopped is not None
    assert found.push_stopped.status == 402
    assert [words[:28] for words in found.warnings] == [
        "the push is stopped: QuickBo",
        f"the last fetch (run {run_id}) faile",
        "the last successful fetch is",
    ]


def test_every_slot_is_free_before_the_first_call(office: Office) -> None:
    assert read_status(office).budget["free"] == 300


@pytest.mark.parametrize(
    ("due", "free", "minutes"),
    [
        (0, 270, 0),
        (1, 2, 0),
        (50, 2, 0),
        (51, 2, 5),  # four calls for two batches, and two are free
        (10_000, 270, 5),  # 400 calls: 130 wait for the next window
        (20_000, 270, 10),  # 800: two windows of 270
        (1, 0, 5),
    ],
)
def test_what_is_due_waits_as_long_as_the_budget_makes_it(
    due: int, free: int, minutes: float
) -> None:
    assert overview.minutes_for(due, free=free, for_bulk=270, window_seconds=300) == minutes


# --- failures and retry -------------------------------------------------------------------


# --- history ------------------------------------------------------------------------------
