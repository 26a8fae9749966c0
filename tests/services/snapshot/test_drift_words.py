"""What drift leaves alone because a push has it, and the words for the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Unpack

import pytest
from sqlalchemy import select

from cprqueue.domain.models import Address, Observed, Spare
from cprqueue.domain.records import Event
from cprqueue.domain.states import Intent, LinkState
from cprqueue.services.snapshot import drift
from cprqueue.store import leases, push_queue, runs
from cprqueue.store.database import clock
from cprqueue.store.push_queue import LinkValues
from cprqueue.store.tables import events
from tests.office import Office, job
from tests.pruning import CLOSED

HELD = Observed(
    jobcode_id=5, name="A-1", active=True, assigned_to_all=True, location_id=7,
    address=Address("1 Main Street"), location_linked=True,
)  # fmt: skip


def find(office: Office) -> list[Event]:
    """Take a snapshot; return the drift that it has put on record, an event for each job."""
    run_id = office.app.snapshot.take()
    with office.app.db.read() as conn:
        run = runs.existing(conn, run_id)
        drift = select(events).where(events.c.kind == "drift", events.c.at >= run.started_at)
        found = [Event.from_row(row) for row in conn.execute(drift).mappings()]
    assert run.details["drifted"] == len(found)
    return found


@pytest.fixture
def edited(office: Office) -> Office:
    """Two jobs in step, and the jobcode of the first renamed by hand."""
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, name="Shop")
    return office


def lease(office: Office, **values: Unpack[LinkValues]) -> None:
    """Claim job 1 for a minute and write these values under the lease."""
    with office.app.db.begin() as conn:
        now = clock(conn)
        push_queue.make_due(conn, 1, now=now)
        leases.claim(conn, "x", now=now, limit=1, until=now + timedelta(minutes=1), only=1)
        leases.write(conn, 1, "x", {"state": LinkState.IN_SYNC, **values})


def test_a_job_that_was_edited_is_the_only_one_found(edited: Office) -> None:
    (found,) = find(edited)
    assert found.job_id == 1
    assert found.text.startswith("renamed to 'Shop' in QuickBooks Time on 20")
    assert (edited.link(1).state, edited.link(2).state) == (LinkState.DUE, LinkState.IN_SYNC)


def test_a_job_that_a_push_has_under_way_is_left_to_it(edited: Office) -> None:
    lease(edited)
    assert find(edited) == []
    assert edited.link(1).observed.name == "A-1"


def test_a_job_with_a_request_of_unknown_outcome_is_left_to_the_push(edited: Office) -> None:
    lease(edited, intent=Intent.CHANGE_JOBCODE, lease=None, lease_until=None)
    assert find(edited) == []
    assert edited.link(1).observed.name == "A-1"


def test_the_record_of_a_parked_job_is_corrected_and_the_job_stays_parked(edited: Office) -> None:
    lease(edited, state=LinkState.PARKED, error_code="refused_417", lease=None, lease_until=None)
    assert find(edited) == []
    assert (edited.link(1).state, edited.link(1).observed.name) == (LinkState.PARKED, "Shop")


def test_what_is_as_it_should_be_but_not_as_on_record_is_only_noted(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    place = office.link(1).location_id
    other = office.sandbox.qbt.add_location(
        addr1="1 Main Street", city="Boise", state="ID", zip="83702",
        linked_objects={"jobcodes": [office.link(1).jobcode_id]},
    )  # fmt: skip
    office.sandbox.qbt.change_location(place, linked_objects={"jobcodes": []}, active=False)
    find(office)
    office.push()
    assert office.broken() == []
    assert office.link(1).location_id in (place, other)


def test_a_closed_job_whose_jobcode_was_archived_by_hand_is_no_drift(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.put(job(1, "A-1", **CLOSED))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, active=False)
    assert find(office) == []
    assert office.link(1).state == LinkState.IDLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Shop"}, "renamed to 'Shop'"),
        ({"active": False}, "archived"),
        ({"active": False, "assigned_to_all": False}, "archived"),
        ({"assigned_to_all": False}, "no longer assigned to all"),
        ({"address": Address("9 Elm")}, "location changed"),
        ({"location_id": 8}, "location changed"),
        ({"location_linked": False}, "location unlinked"),
        ({"location_id": None, "location_linked": False}, "location changed"),
        ({"spares": (Spare(9),)}, "another location linked"),
        ({"name": "Shop", "spares": (Spare(9),)}, "renamed to 'Shop', another location linked"),
        ({}, "changed"),
    ],
    ids=str,
)
def test_each_edit_has_its_words_and_no_other(change: dict[str, Any], words: str) -> None:
    assert drift.in_words(HELD, replace(HELD, **change)) == words


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ({"active": False}, "changed"),
        ({"assigned_to_all": False}, "changed"),
        ({"location_linked": False}, "location linked"),
        ({"spares": (Spare(9), Spare(10))}, "changed"),
    ],
    ids=str,
)
def test_what_somebody_put_right_is_not_reported_as_damage(
    before: dict[str, Any], words: str
) -> None:
    assert drift.in_words(replace(HELD, **before), HELD) == words
