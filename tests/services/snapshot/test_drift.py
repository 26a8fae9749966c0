"""What people changed by hand in QuickBooks Time is found, told in words, and put right."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.records import Event
from cprqueue.domain.states import LinkState
from cprqueue.services.snapshot import drift
from cprqueue.store import events, runs
from cprqueue.store.tables import qbt_export
from tests.office import Office, job

CLOSED = {"jobProgress": "Lost Lead"}


@pytest.fixture
def office(office: Office) -> Office:
    office.put(*(job(n, f"A-{n}") for n in range(1, 6)))
    return office


def find(office: Office) -> list[Event]:
    """Take a snapshot; return what it put on record of drift, by job."""
    before = drift_on_record(office)
    office.app.snapshot.take()
    return drift_on_record(office)[len(before) :]


def drift_on_record(office: Office) -> list[Event]:
    with office.app.db.read() as conn:
        found = [event for n in range(1, 6) for event in events.of_job(conn, n)]
    return [event for event in found if event.kind == "drift"]


def jobcode_of(office: Office, job_id: int = 1) -> int:
    return int(office.link(job_id).jobcode_id)


def rename(office: Office) -> None:
    office.sandbox.qbt.change_jobcode(jobcode_of(office), name="Somebody's name")


def archive(office: Office) -> None:
    office.sandbox.qbt.change_jobcode(jobcode_of(office), active=False)


def unassign(office: Office) -> None:
    office.sandbox.qbt.change_jobcode(jobcode_of(office), assigned_to_all=False)


def move(office: Office) -> None:
    office.sandbox.qbt.change_location(office.link(1).location_id, addr1="9 Elm Street")


def unlink(office: Office) -> None:
    nothing: dict[str, Any] = {"linked_objects": {"jobcodes": []}}
    office.sandbox.qbt.change_location(office.link(1).location_id, **nothing)


def link_another(office: Office) -> None:
    linked = {"jobcodes": [jobcode_of(office)]}
    office.sandbox.qbt.add_location(addr1="Yard", linked_objects=linked)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (rename, 'renamed to "Somebody\'s name"'),
        (archive, "archived"),
        (unassign, "no longer assigned to all"),
        (move, "location changed"),
        (unlink, "location"),
        (link_another, "another location linked"),
    ],
)
def test_an_edit_by_hand_is_found_told_in_words_and_set_back(
    office: Office, edit: Any, words: str
) -> None:
    edit(office)
    assert office.broken() != []
    (found,) = find(office)
    assert found.job_id == 1
    assert found.text.startswith(words)
    assert found.text.endswith(": set back")
    assert "Elm" not in found.text
    office.push()
    assert office.broken() == []
    assert find(office) == []


def test_without_an_edit_nothing_is_found_and_nothing_is_pushed(office: Office) -> None:
    assert find(office) == []
    assert office.counts()["due"] == 0


def test_a_job_pushed_since_the_snapshot_began_is_left_alone(office: Office) -> None:
    run_id = office.app.snapshot.take()
    office.put(job(1, "B-1"))
    assert drift.find(office.app.db, run_id) == []
    assert office.counts()["due"] == 0


def snapshot_without(office: Office, jobcode_id: int) -> int:
    """Take a snapshot as if QuickBooks Time had left one jobcode out."""
    run_id = office.app.snapshot.take()
    with office.app.db.begin() as conn:
        conn.execute(qbt_export.delete().where(qbt_export.c.jobcode_id == jobcode_id))
        row = runs.get(conn, run_id)
        assert row is not None
        runs.change(conn, run_id, emitted=row.emitted - 1)
    return run_id


def test_a_jobcode_that_is_not_in_the_export_is_looked_for_before_anything_is_believed(
    office: Office,
) -> None:
    run_id = snapshot_without(office, jobcode_of(office))
    writes = len(office.writes())
    (found,) = drift.find(office.app.db, run_id)
    assert found["text"] == f"jobcode {jobcode_of(office)} was not in the export: looking for it"
    office.push()
    assert office.counts()["in_sync"] == 5
    assert len(office.writes()) == writes
    assert office.broken() == []


def test_the_record_of_an_idle_job_is_corrected_and_nothing_is_pushed(office: Office) -> None:
    office.put(job(1, "A-1", **CLOSED))
    rename(office)
    writes = len(office.writes())
    assert find(office) == []
    assert office.link(1).state == LinkState.IDLE
    assert "Somebody's name" in office.link(1).observed_text
    office.push()
    assert len(office.writes()) == writes


def test_an_idle_job_whose_jobcode_is_missing_stays_idle(office: Office) -> None:
    office.put(job(1, "A-1", **CLOSED))
    run_id = snapshot_without(office, jobcode_of(office))
    assert drift.find(office.app.db, run_id) == []
    assert office.link(1).state == LinkState.IDLE


def test_a_location_hung_onto_another_jobs_jobcode_ends_with_one_for_each(office: Office) -> None:
    theirs = {"jobcodes": [jobcode_of(office, 2)]}
    office.sandbox.qbt.change_location(office.link(1).location_id, linked_objects=theirs)
    office.sandbox.qbt.change_location(office.link(2).location_id, linked_objects={"jobcodes": []})
    assert find(office) != []
    office.push()
    assert office.broken() == []
