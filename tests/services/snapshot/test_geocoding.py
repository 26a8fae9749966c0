"""Each night's question which addresses were not placed: what it asks, notes and leaves alone."""

from __future__ import annotations

import logging

import pytest

from cprqueue.clients import qbtime
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AccessStopped, DatabaseUnavailable, OutOfCalls
from cprqueue.services import gates
from cprqueue.services.board import mend
from cprqueue.services.snapshot import geocoding
from cprqueue.store import exports, runs
from tests.office import Office, die_at, job

READ = """
from cprqueue.bootstrap import Application
from cprqueue.services.snapshot import geocoding
app = Application()
geocoding.read(app.db, app.qbt())
"""
PLACED = ["complete"] * 3


@pytest.fixture
def placed(office: Office) -> Office:
    """Three jobs, all of them placed by the newest snapshot."""
    office.sandbox.qbt.switches.update({"geocode_seconds": 0})
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    office.app.snapshot.take()
    assert statuses(office) == PLACED
    office.sandbox.client.reset_calls()
    return office


def read(office: Office) -> str:
    return geocoding.read(office.app.db, office.app.qbt())


def statuses(office: Office) -> list[str]:
    """Return what the newest snapshot's rows say of the three jobs' locations, in their order."""
    with office.app.db.read() as conn:
        newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
        assert newest is not None
        rows = exports.of_run(conn, newest.run_id)
    said = {row.location_id: row.geocoding_status or "" for row in rows}
    return [said[office.link(n).location_id] for n in range(1, 4)]


def move(office: Office, job_id: int, addr1: str) -> None:
    """Give a job's location another address; one without a house number is not placed."""
    office.sandbox.qbt.change_location(office.link(job_id).location_id, addr1=addr1)


def told(office: Office) -> list[int]:
    """Return the jobs whose addresses the board calls not placed."""
    kind = next(kind for kind in mend.read(office.app.db) if "could not place" in kind.title)
    return [each.job_id for found in kind.found for each in found.jobs]


def asked(office: Office) -> int:
    return office.sandbox.client.call_count(service="qbt")


def use_up_all_calls(office: Office) -> None:
    while True:
        office.app.budget.take()


@pytest.mark.parametrize(("filtered", "calls"), [("honoured", 1), ("ignored", 1), ("refused", 2)])
def test_what_was_not_placed_is_found_and_what_is_placed_by_now_is_not(
    placed: Office, filtered: str, calls: int
) -> None:
    placed.sandbox.qbt.switches.update({"geocoding_filter": filtered})
    move(placed, 2, "Old Mill Road")
    assert read(placed) == "1 not placed"
    assert asked(placed) == calls
    assert statuses(placed) == ["complete", "error", "complete"]
    assert told(placed) == [2]
    assert read(placed) == "1 not placed"  # a second time changes nothing
    assert told(placed) == [2]
    move(placed, 2, "5 Old Mill Road")
    assert read(placed) == "0 not placed"
    assert (statuses(placed), told(placed)) == (PLACED, [])


def test_only_the_first_pages_are_read_and_nothing_is_made_of_the_others(
    placed: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(placed, 3, "Old Mill Road")
    read(placed)
    for n in (1, 2):
        move(placed, n, "Old Mill Road")
    placed.sandbox.client.reset_calls()
    monkeypatch.setattr(qbtime, "PAGE", 1)
    monkeypatch.setattr(geocoding, "PAGES", 2)
    assert read(placed) == "3 not placed; there are more than were read"
    assert (asked(placed), statuses(placed)) == (2, ["error"] * 3)
    move(placed, 3, "5 Old Mill Road")
    monkeypatch.setattr(geocoding, "PAGES", 1)
    assert read(placed).startswith("3 not placed")  # the third is not known to be placed
    monkeypatch.undo()
    assert read(placed) == "2 not placed"


def test_an_older_snapshot_is_left_as_it_was(placed: Office) -> None:
    with placed.app.db.read() as conn:
        older = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    assert older is not None
    newer = placed.app.snapshot.take()
    move(placed, 1, "Old Mill Road")
    read(placed)
    for run_id, expected in ((older.run_id, set()), (newer, {"error"})):
        with placed.app.db.read() as conn:
            rows = exports.of_run(conn, run_id)
        assert {row.geocoding_status for row in rows} - {"complete"} == expected


@pytest.mark.settings(QBT_RATE_LIMIT="30")
def test_out_of_calls_it_waits_for_the_next_night_and_leaves_the_reserve(placed: Office) -> None:
    move(placed, 1, "Old Mill Road")
    with pytest.raises(OutOfCalls):
        use_up_all_calls(placed)
    assert placed.app.budget.wait_seconds(urgent=True) == 0
    assert read(placed).startswith("again next night: all calls of this window are used")
    assert (asked(placed), statuses(placed)) == (0, PLACED)


def test_behind_a_closed_gate_or_before_a_snapshot_nothing_is_asked(office: Office) -> None:
    assert read(office) == "not asked: no snapshot was taken yet"
    gates.stop_push(office.app.db, AccessStopped("no", 402))
    assert read(office).startswith("not asked: the push is stopped: no")
    assert asked(office) == 0


@pytest.mark.parametrize("status", [401, 417, 429, 503])
def test_whatever_goes_wrong_is_said_and_changes_nothing(
    placed: Office, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    move(placed, 1, "Old Mill Road")
    placed.sandbox.qbt.switches.update({"force_status": status})
    with caplog.at_level(logging.INFO, logger="cprqueue"):
        assert read(placed).startswith("again next night: ")
    assert "places not read: again next night" in caplog.messages
    assert statuses(placed) == PLACED
    with placed.app.db.read() as conn:
        assert bool(gates.push_stopped(conn)) == (status == 401)


def test_a_database_that_is_away_is_the_tasks_own_matter(
    placed: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(placed.app.budget, "take", away)
    with pytest.raises(DatabaseUnavailable):
        read(placed)


def test_killed_after_the_answer_it_begins_anew(placed: Office) -> None:
    move(placed, 1, "Old Mill Road")
    die_at(placed, "read_geocoding", READ)
    assert statuses(placed) == PLACED
    assert read(placed) == "1 not placed"
    assert statuses(placed) == ["error", "complete", "complete"]
