"""Snapshots for tests of drift: what one has found and made due."""

from __future__ import annotations

from sqlalchemy import select

from cprqueue.domain.records import Event
from cprqueue.store import runs
from cprqueue.store.tables import events
from tests.office import Office


def find(office: Office) -> list[Event]:
    """Take a snapshot; return the drift that it has put on record, an event for each job."""
    run_id = office.app.snapshot.take()
    with office.app.db.read() as conn:
        run = runs.existing(conn, run_id)
        drift = select(events).where(events.c.kind == "drift", events.c.at >= run.started_at)
        found = [Event.from_row(row) for row in conn.execute(drift).mappings()]
    assert run.details["drifted"] == len(found)
    return found
