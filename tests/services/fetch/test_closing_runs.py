"""When a fetch is over, when it is requeued, and what its end changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import ErrorCode, LinkState, RunKind, RunState
from cprqueue.services import progress_values
from cprqueue.services.fetch.closing import MAX_RESENDS, STALLED_AFTER, close_finished, lost_fetches
from cprqueue.services.record import record
from cprqueue.store import events, leases, runs
from cprqueue.store.database import clock
from cprqueue.store.push_queue import NO_LEASE, LinkValues
from tests.office import Office, job

QUIET = timedelta(minutes=1)


def a_fetch(
    office: Office, state: RunState, *, ago: timedelta = timedelta(0), **values: Any
) -> int:
    """Have a fetch in this state that moved so long ago."""
    with office.app.db.begin() as conn:
        then = clock(conn) - ago
        run_id = runs.create(conn, RunKind.FETCH, now=then, state=state, complete=True)
        runs.change(conn, run_id, observed_at=then, **values)
    return run_id


def show(office: Office, run_id: int, *items: dict[str, Any]) -> None:
    """Record what this fetch has shown."""
    run = get(office, run_id)
    sighting = Sighting(
        run_id=run_id, number=run.asking, complete=run.complete, observed_at=run.observed_at
    )
    for item in items:
        record(office.app.db, office.app.rules, read_job(item), sighting)


def get(office: Office, run_id: int) -> Any:
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def close(office: Office) -> datetime:
    with office.app.db.begin() as conn:
        now = clock(conn)
        close_finished(conn, office.app.push_limits, now=now)
    return now


def shown(office: Office, *items: dict[str, Any]) -> int:
    """Have a complete fetch that showed these jobs and is over."""
    run_id = a_fetch(office, RunState.RECORDING, emitted=len(items))
    show(office, run_id, *items)
    close(office)
    return run_id


def test_a_fetch_is_over_once_its_last_job_is_on_record(office: Office) -> None:
    run_id = a_fetch(office, RunState.RECORDING, emitted=2)
    show(office, run_id, job(1, "A-1"))
    now = close(office)
    run = get(office, run_id)
    assert (run.state, run.recorded) == (RunState.RECORDING, 1)
    assert run.touched_at >= now, "it moves"
    show(office, run_id, job(2, "A-2"))
    now = close(office)
    run = get(office, run_id)
    assert (run.state, run.recorded) == (RunState.DONE, 2)
    assert run.finished_at >= now


@pytest.mark.parametrize(
    ("state", "values", "said"),
    [
        (RunState.QUEUED, {}, "never started"),
        (RunState.RUNNING, {}, "the worker died in the middle"),
        (RunState.RECORDING, {"emitted": 3, "recorded": 1}, "only 1 of 3 jobs were recorded"),
    ],
)
def test_a_fetch_that_got_stuck_fails_and_says_where(
    office: Office, state: RunState, values: dict[str, int], said: str
) -> None:
    run_id = a_fetch(office, state, ago=STALLED_AFTER - QUIET, **values)
    close(office)
    assert get(office, run_id).state == state, "it may still be slow"
    with office.app.db.begin() as conn:
        runs.change(conn, run_id, touched_at=clock(conn) - STALLED_AFTER - QUIET)
    now = close(office)
    run = get(office, run_id)
    assert run.state is RunState.FAILED
    assert run.finished_at >= now
    assert run.note.startswith(said)


def test_a_fetch_that_waits_behind_one_that_moves_is_kept_waiting(office: Office) -> None:
    a_fetch(office, RunState.RUNNING)
    long_ago, just_now = STALLED_AFTER / 2 + QUIET, STALLED_AFTER / 2 - QUIET
    first = a_fetch(office, RunState.QUEUED, ago=long_ago)
    second = a_fetch(office, RunState.QUEUED, ago=just_now)
    before = get(office, second).touched_at
    now = close(office)
    assert get(office, first).state is RunState.QUEUED
    assert get(office, first).touched_at >= now
    assert get(office, second).touched_at == before, "there is no hurry"


def test_a_fetch_that_waits_behind_a_dead_one_is_not_kept_waiting(office: Office) -> None:
    a_fetch(office, RunState.RUNNING, ago=STALLED_AFTER + QUIET)
    run_id = a_fetch(office, RunState.QUEUED, ago=STALLED_AFTER + QUIET)
    close(office)
    assert get(office, run_id).state == "failed"


def test_fetches_that_only_wait_for_each_other_are_not_kept_waiting(office: Office) -> None:
    run_id = a_fetch(office, RunState.QUEUED, ago=STALLED_AFTER + QUIET)
    a_fetch(office, RunState.QUEUED)
    close(office)
    assert get(office, run_id).state == "failed"


def test_a_fetch_whose_messages_were_lost_is_sent_again_under_its_own_number(
    office: Office,
) -> None:
    run_id = a_fetch(office, RunState.RECORDING, ago=2 * QUIET)
    assert lost_fetches(office.app.db, lambda queue: int(queue == "insert"), quiet=QUIET) == []
    assert lost_fetches(office.app.db, lambda _queue: 0, quiet=3 * QUIET) == []
    (again,) = lost_fetches(office.app.db, lambda queue: int(queue != "insert"), quiet=QUIET)
    assert (again.run_id, again.complete) == (run_id, True)
    assert get(office, run_id).state == "queued"
    assert lost_fetches(office.app.db, lambda _queue: 0, quiet=QUIET) == [], "it has just moved"


def test_the_oldest_of_many_open_fetches_is_seen_too(office: Office) -> None:
    lost, over = (a_fetch(office, RunState.RECORDING, ago=2 * QUIET, emitted=n) for n in (1, 0))
    for _ in range(30):
        a_fetch(office, RunState.QUEUED)
    close(office)
    assert get(office, over).state == "done"
    (again,) = lost_fetches(office.app.db, lambda _queue: 0, quiet=QUIET)
    assert again.run_id == lost


def test_a_fetch_that_nobody_has_begun_is_sought_in_its_own_queue(office: Office) -> None:
    run_id = a_fetch(office, RunState.QUEUED, ago=2 * QUIET)
    assert lost_fetches(office.app.db, lambda queue: int(queue == "fetch"), quiet=QUIET) == []
    (again,) = lost_fetches(office.app.db, lambda queue: int(queue != "fetch"), quiet=QUIET)
    assert again.run_id == run_id


def test_a_fetch_is_sent_again_three_times_and_then_no_more(office: Office) -> None:
    run_id = a_fetch(office, RunState.RUNNING, ago=2 * QUIET)
    for _ in range(MAX_RESENDS):
        assert len(lost_fetches(office.app.db, lambda _queue: 0, quiet=-QUIET)) == 1
    assert lost_fetches(office.app.db, lambda _queue: 0, quiet=-QUIET) == []
    assert get(office, run_id).detail == {"retakes": 3}
    assert get(office, run_id).state == "queued"
    last = a_fetch(office, RunState.RECORDING, ago=2 * QUIET, emitted=7, detail={"retakes": 3})
    assert lost_fetches(office.app.db, lambda _queue: 0, quiet=QUIET) == []
    run = get(office, last)
    assert run.state == "failed", "or all others would wait for it"
    assert "only 0 of 7 jobs" in run.note


def fresh(office: Office, *, ago: timedelta = QUIET) -> list[str]:
    """Return the progress values that turned up since then."""
    with office.app.db.read() as conn:
        return progress_values.new_since(conn, clock(conn) - ago)


def test_a_new_progress_value_is_reported_once_from_the_second_fetch_on(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    shown(office, job(1, "A-1"), job(2, "A-2", jobProgress="Invoiced"))
    assert (fresh(office), caplog.messages) == ([], []), "the first fetch knows no other"
    odd = job(3, "A-3", jobProgress="Gone Fishing")
    shown(office, job(1, "A-1"), job(2, "A-2"), odd)
    assert fresh(office) == ["Gone Fishing"]
    assert fresh(office, ago=-QUIET) == []
    shown(office, job(1, "A-1"), job(2, "A-2"), odd)
    assert caplog.messages == ["unknown progress counts as active"]
    assert fresh(office) == ["Gone Fishing"]


def test_what_two_complete_fetches_did_not_show_is_inactive_and_says_so(office: Office) -> None:
    shown(office, job(1, "A-1"), job(2, "A-2"))
    first = shown(office, job(2, "A-2"))
    assert office.row(1).active, "once is not enough"
    second = shown(office, job(2, "A-2"))
    rule = f"vanished: not in the complete fetches {first} and {second}"
    assert (office.row(1).active, office.row(1).rule) == (False, rule)
    assert (office.link(1).state, office.link(2).state) == (LinkState.IDLE, LinkState.DUE)
    with office.app.db.read() as conn:
        assert events.of_job(conn, 1)[-1].text == rule
        assert len(events.of_job(conn, 2)) == 1


def test_a_number_that_vanished_requeues_who_was_parked_for_it(office: Office) -> None:
    shown(office, job(1, "A-1"), job(2, "A-1"))
    with office.app.db.begin() as conn:
        now = clock(conn)
        leases.claim(conn, "x", now=now, limit=1, until=now + QUIET, only=2)
        parked: LinkValues = {"state": LinkState.PARKED, "error_code": ErrorCode.DOUBLED_NUMBER}
        leases.write(conn, 2, "x", {**parked, **NO_LEASE})
    for _ in range(2):
        shown(office, job(2, "A-1"))
    assert office.link(2).state == LinkState.DUE


def test_what_an_incremental_fetch_did_not_show_has_not_vanished(office: Office) -> None:
    shown(office, job(1, "A-1"), job(2, "A-2"))
    for _ in range(2):
        run_id = a_fetch(office, RunState.RECORDING, emitted=1)
        with office.app.db.begin() as conn:
            runs.change(conn, run_id, complete=False)
        show(office, run_id, job(2, "A-2"))
        close(office)
    assert office.row(1).active
