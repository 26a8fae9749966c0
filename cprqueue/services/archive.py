"""Archive the items of a stored plan, 50 at a time; for the prune and for remove-all.

The plan with the state before each jobcode is on record before the first request. What if the
process dies
- before a request, or after it and before the outcome is written: its items are "sending". Who
  goes on looks at them first: what is archived is recorded, the others are planned as before.
Nothing is ever archived that is not in the plan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from cprqueue import fuse
from cprqueue.models import BATCH, Held, ItemResult, Jobcode, Location
from cprqueue.qbtime import QuickBooksTime
from cprqueue.services.looks import ANY, by_ids
from cprqueue.store import events, links, plans, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

CLOCK_DAYS = 40
"""Running timesheets are looked for this far back; the listing demands a range of dates."""


@dataclass(slots=True, kw_only=True)
class Archive:
    """Archives jobcodes with ``qbt``."""

    db: Database
    qbt: QuickBooksTime

    def execute(
        self,
        run_id: int,
        *,
        still_wanted: Callable[[Connection, Any], str | None],
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Archive what is open in the plan; True when nothing is left open.

        ``still_wanted`` returns why an item must not leave after all, or None. Whoever is on
        the clock for an item holds it back. Raises the client's errors; run it again to go on.
        """
        self._settle(run_id)
        while not stop_asked():
            batch = self._next(run_id, still_wanted)
            if not batch:
                return not self._open(run_id)
            staying = self._on_the_clock(batch)
            leaving = [item for item in batch if item.jobcode_id not in staying]
            with self.db.begin() as conn:
                for item in batch:
                    if item.jobcode_id in staying:
                        self._hold_back(conn, item, staying[item.jobcode_id])
            if leaving:
                self._send(run_id, leaving)
        return False

    def _open(self, run_id: int) -> bool:
        with self.db.read() as conn:
            return bool(plans.of_run(conn, run_id, *plans.OPEN))

    def _settle(self, run_id: int) -> None:
        """Look what became of the items of a request whose answer was never recorded."""
        with self.db.read() as conn:
            items = plans.of_run(conn, run_id, "sending")
        found = by_ids(self.qbt.jobcodes, {item.jobcode_id for item in items}, **ANY)
        gone = {code.id for code in found if not code.active}
        with self.db.begin() as conn:
            for item in items:
                if item.jobcode_id in gone:
                    self._note_archived(conn, run_id, item)
                else:
                    plans.set_outcome(conn, [item.item_id], "planned", now=clock(conn))

    def _next(
        self, run_id: int, still_wanted: Callable[[Connection, Any], str | None]
    ) -> list[Any]:
        with self.db.begin() as conn:
            now = clock(conn)
            runs.change(conn, run_id, touched_at=now)
            items = plans.of_run(conn, run_id, *plans.OPEN)[:BATCH]
            kept = []
            for item in items:
                reason = still_wanted(conn, item)
                if reason:
                    plans.set_outcome(conn, [item.item_id], "dropped", now=now, note=reason)
                else:
                    kept.append(item)
        return kept if kept or not items else self._next(run_id, still_wanted)

    def _on_the_clock(self, batch: Sequence[Any]) -> dict[int, str]:
        """Return which of these jobcodes somebody is clocked in on, children included."""
        ids = [item.jobcode_id for item in batch]
        families = {item.jobcode_id: _family(plans.state_before(item)) for item in batch}
        with self.db.read() as conn:
            today = clock(conn).date()
        busy = clocked_in(self.qbt, ids, today)
        found = {}
        for root, family in families.items():
            people = sum(busy.get(code, 0) for code in family | {root})
            if people:
                found[root] = f"{people} on the clock right now"
        return found

    def _hold_back(self, conn: Connection, item: Any, reason: str) -> None:
        plans.set_outcome(conn, [item.item_id], "held_back", now=clock(conn), note=reason)

    def _send(self, run_id: int, items: list[Any]) -> None:
        with self.db.begin() as conn:
            ids = [item.item_id for item in items]
            plans.set_outcome(conn, ids, "sending", now=clock(conn))
        fuse.point("before_archive")
        payload = [{"id": item.jobcode_id, "active": False} for item in items]
        results = self.qbt.change_jobcodes(payload)
        fuse.point("after_archive")
        with self.db.begin() as conn:
            for item, result in zip(items, results, strict=True):
                self._record(conn, run_id, item, result)
        fuse.point("recorded_archive")

    def _record(self, conn: Connection, run_id: int, item: Any, result: ItemResult) -> None:
        if result.done:
            self._note_archived(conn, run_id, item)
            return
        note = f"QuickBooks Time answered {result.code}: {result.text}"
        plans.set_outcome(conn, [item.item_id], "failed", now=clock(conn), note=note)

    def _note_archived(self, conn: Connection, run_id: int, item: Any) -> None:
        now = clock(conn)
        plans.set_outcome(conn, [item.item_id], "archived", now=now)
        if item.job_id is not None:
            set_active(conn, item.job_id, item.jobcode_id, active=False)
            text = f"jobcode {item.jobcode_id} archived: {item.reason}"
            events.add(
                conn, [events.event(item.job_id, "archived", text[:900], at=now, run_id=run_id)]
            )


def clocked_in(qbt: QuickBooksTime, jobcode_ids: Iterable[int], today: date) -> dict[int, int]:
    """Count who is on the clock, by jobcode; children of the given ones are included."""
    since = (today - timedelta(days=CLOCK_DAYS)).isoformat()
    ids = sorted(set(jobcode_ids))
    count: dict[int, int] = {}
    for start in range(0, len(ids), BATCH):
        for sheet in qbt.on_the_clock(ids[start : start + BATCH], since=since):
            code = int(sheet.get("jobcode_id") or 0)
            count[code] = count.get(code, 0) + 1
    return count


def set_active(
    conn: Connection, job_id: int, jobcode_id: int, *, active: bool, assigned_to_all: bool = False
) -> None:
    """Note on the link that its jobcode was archived or restored; an active job becomes due."""
    row = links.get(conn, job_id)
    if row is None or row.jobcode_id != jobcode_id:
        return
    held = replace(Held.from_json(row.held), active=active, assigned_to_all=assigned_to_all)
    links.set_held(conn, job_id, held)
    if row.state == links.IN_SYNC:
        links.set_due(conn, job_id, row.wanted_hash, now=clock(conn))


def _family(state: dict[str, Any]) -> set[int]:
    return {int(code) for code in state.get("family", [])}


def state_before(
    jobcode: Jobcode, locations: Iterable[Location], family: Iterable[int], assignees: Iterable[int]
) -> dict[str, Any]:
    """Build what must be known to bring a jobcode back: plain JSON data."""
    return {
        "name": jobcode.name,
        "parent_id": jobcode.parent_id,
        "type": jobcode.type,
        "assigned_to_all": jobcode.assigned_to_all,
        "short_code": jobcode.short_code,
        "family": sorted(family),
        "assignees": sorted(assignees),
        "locations": [
            {
                "id": place.id,
                "active": place.active,
                "address": asdict(place.address),
                "jobcode_ids": list(place.jobcode_ids),
            }
            for place in sorted(locations, key=lambda place: place.id)
        ],
    }
