"""What an undo writes down, item by item: what came back, what did not, and what is under way."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.states import RunKind
from cprqueue.errors import AlreadyRunning, Transient, UsageError
from cprqueue.store import events, plan_items, runs
from tests.office import Office, job
from tests.pruning import close, fault, outcomes, prune, run_of


def pruned(office: Office, *closed: int) -> int:
    """Have five jobs, close these and prune them."""
    office.put(*(job(n, f"A-{n}") for n in range(1, 6)))
    close(office, *closed)
    return prune(office)[0]


def undo(office: Office, run_id: int, *numbers: str) -> int:
    """Undo a run, or these of its jobs; return the run of the undo."""
    undo_id = office.app.undo.request(run_id, numbers)
    office.app.undo.run(undo_id)
    return undo_id


def notes(office: Office, run_id: int) -> dict[str, Any]:
    """Return what is noted of each job of a plan."""
    with office.app.db.read() as conn:
        return {item.job_number: item.note for item in plan_items.of_run(conn, run_id)}


def history(office: Office, job_id: int) -> list[str]:
    """Return what the job's history says of undos."""
    with office.app.db.read() as conn:
        return [event.text for event in events.of_job(conn, job_id) if event.kind == "restored"]


def test_what_came_back_is_written_down_item_by_item(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    undo_id = undo(office, run_id)
    assert outcomes(office, run_id) == {"restored": 2}
    assert (run_of(office, undo_id).state, run_of(office, undo_id).recorded) == ("done", 2)
    assert run_of(office, undo_id).note == "2 restored"
    assert history(office, 1) == [f"jobcode {office.link(1).jobcode_id} restored as A-1"]


def test_what_is_under_way_when_an_undo_dies_is_on_record(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes")
    with pytest.raises(Transient):
        undo(office, run_id)
    assert outcomes(office, run_id) == {"restoring": 2}
    assert history(office, 1) == []


def test_what_the_service_refuses_to_restore_stays_archived_with_its_words(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    refused = {"where": {"name": "A-1"}, "code": 417, "extra": "Oops! Not this one"}
    fault(office, kind="items", method="PUT", path="/jobcodes", **refused)
    undo_id = undo(office, run_id)
    assert outcomes(office, run_id) == {"archived": 1, "restored": 1}
    assert notes(office, run_id)["A-1"] == "stays archived: Oops! Not this one"
    assert run_of(office, undo_id).note == "1 restored, 1 not wholly"
    assert history(office, 1) == []


def test_what_is_left_to_the_sync_is_written_down_as_such(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    office.put(job(1, "A-1"))
    undo(office, run_id)
    assert outcomes(office, run_id) == {"restored": 2}
    said = notes(office, run_id)
    assert said["A-1"] == "its job is active: the sync restores it"
    assert said["A-2"] is None


def test_an_active_job_that_is_parked_stays_among_the_archived(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    office.sandbox.qbt.add_jobcode(name="A-1")
    office.put(job(1, "A-1"))
    undo(office, run_id)
    assert outcomes(office, run_id) == {"archived": 1, "restored": 1}
    assert notes(office, run_id)["A-1"].startswith("its job is active but parked: ")


def test_an_undo_of_a_number_that_was_not_archived_is_refused_before_it_is_on_record(
    office: Office,
) -> None:
    run_id = pruned(office, 1)
    with pytest.raises(UsageError, match="archived no A-4"):
        office.app.undo.request(run_id, ["A-4"])
    with office.app.db.read() as conn:
        assert runs.newest(conn, RunKind.UNDO) is None


def test_the_same_order_is_one_undo_until_it_is_over(
    office: Office,
) -> None:
    run_id = pruned(office, 1, 2)
    first = office.app.undo.request(run_id, ["A-1"])
    assert office.app.undo.request(run_id, ["A-1"]) == first
    with pytest.raises(AlreadyRunning, match=f"undo {first} "):
        office.app.undo.request(run_id, ["A-2"])
    office.app.undo.run(first)
    assert office.app.undo.request(run_id, ["A-1"]) != first


def test_locations_that_are_as_they_were_are_not_written_to(office: Office) -> None:
    run_id = pruned(office, 1, 2)
    before = len(office.writes())
    undo(office, run_id)
    assert office.writes()[before:] == [("PUT", "/jobcodes", 2)]


def test_a_location_that_was_edited_or_archived_meanwhile_is_as_it_was_again(
    office: Office,
) -> None:
    run_id = pruned(office, 1, 2)
    qbt = office.sandbox.qbt
    qbt.change_location(office.link(1).location_id, addr1="9 Elm Street")
    qbt.change_location(office.link(2).location_id, active=False)
    undo(office, run_id)
    places = {place["id"]: place for place in qbt.state()["locations"]}
    assert places[office.link(1).location_id]["addr1"] == "1 Main Street"
    assert places[office.link(2).location_id]["active"]
