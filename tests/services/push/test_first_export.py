"""The first export of an account is ordered once, by whoever rings, before anything is pushed."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.push import first_export
from cprqueue.store import app_state, runs
from cprqueue.store.database import clock
from tests.office import Office, job

QUIET = timedelta(seconds=60)


def order(office: Office) -> int | None:
    return first_export.order(office.app.db, quiet=QUIET)


def age(office: Office, run_id: int, state: RunState) -> None:
    """Let the run, and the order for it, have been touched long ago."""
    with office.app.db.begin() as conn:
        long_ago = clock(conn) - 2 * QUIET
        runs.change(conn, run_id, touched_at=long_ago, state=state)
        app_state.put(conn, first_export.ORDER, None, now=long_ago)


def test_a_doorbell_orders_the_export_and_pushes_nothing_before_it_is_there(
    office: Office,
) -> None:
    office.record([job(1, "A-1")])
    result = office.app.push.push_due()
    assert result.text.startswith("waiting for the first export: ")
    assert "maintenance" in result.text, "whoever has no such worker reads it here"
    assert result.next_in is not None
    assert result.export is not None
    assert office.sandbox.calls == []
    assert office.app.push.push_due().export is None, "ordered once"
    office.app.snapshot.take(result.export)
    assert office.app.push.push_due().pushed == 1


def test_many_doorbells_at_once_order_it_once(office: Office) -> None:
    found: list[int | None] = []
    threads = [threading.Thread(target=lambda: found.append(order(office))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len([run_id for run_id in found if run_id is not None]) == 1


def test_while_any_snapshot_is_under_way_no_other_is_ordered(office: Office) -> None:
    with office.app.db.begin() as conn:
        runs.create(conn, RunKind.SNAPSHOT, now=clock(conn), requested_by="operator")
    assert order(office) is None


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
def test_one_whose_message_or_worker_was_lost_is_ordered_again(
    office: Office, state: RunState
) -> None:
    first = order(office)
    assert first is not None
    age(office, first, state)
    assert order(office) == first
    assert order(office) is None


def test_after_one_that_failed_for_good_another_is_ordered_a_little_later(office: Office) -> None:
    first = order(office)
    assert first is not None
    with office.app.db.begin() as conn:
        runs.change(conn, first, state=RunState.FAILED)
    assert order(office) is None
    age(office, first, RunState.FAILED)
    second = order(office)
    assert second is not None
    assert second > first
