"""Verify: read back what QuickBooks Time holds for jobs where that is uncertain, before writing.

After a request of unknown outcome, one listing of what changed since serves the whole batch.
Whatever is not in that listing has not changed, so our record of it still holds; that is why
the listing is read so that no row can be missed between two of its pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue.clients.listings import (
    ANY,
    by_ids,
    changed_jobcodes,
    modified,
    named,
    read_all,
)
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain import adoption
from cprqueue.domain.adoption import choose, observe_changes, observe_for
from cprqueue.domain.mapping import read_location
from cprqueue.domain.models import Jobcode, Location, Observed, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.observing import record_observed
from cprqueue.store import exports, links, runs
from cprqueue.store.database import Database, clock

YOUNG = timedelta(hours=1)
"""An export older than this says which jobcode to adopt, but no longer how it is."""


def verify(qbt: QuickBooksTime, batch: Batch, items: list[Item]) -> None:
    """Read back what is observed for ``items`` and record it. Raises the client's errors."""
    by_changes = [item for item in items if item.verifiable_by_changes]
    found = _read_changes(qbt, batch.db, by_changes) if by_changes else {}
    whole = [item for item in items if item.job_id not in found]
    if whole:
        found |= _read_everything(qbt, batch, whole)
    with batch.recording() as conn:
        for item in batch.keep_ours(items):
            item.fully_verified = item.fully_verified or item in whole
            record_observed(conn, batch, item, found[item.job_id])


def _read_changes(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Observed]:
    since = min(item.intent_at for item in items if item.intent_at)
    with db.read() as conn:
        now = clock(conn)
    codes: dict[int, Jobcode] = {}
    if any("jobcode" in (item.intent or "") for item in items):
        codes = {code.id: code for code in changed_jobcodes(qbt, since, now=now)}
    places: list[Location] = []
    if any("location" in (item.intent or "") for item in items):
        filters = {**modified(qbt, since, now=now), "active": "both"}
        places = read_all(qbt, "locations", read_location, filters)
    free = unmanaged(db, codes.values())
    found = {item.job_id: observe_changes(item, codes, places, free) for item in items}
    return {job_id: observed for job_id, observed in found.items() if observed is not None}


def _read_everything(qbt: QuickBooksTime, batch: Batch, items: list[Item]) -> dict[int, Observed]:
    codes = _read_jobcodes(qbt, batch, items)
    ids = {i for code in codes.values() for i in code.location_ids}
    ids |= {item.observed.location_id for item in items if item.observed.location_id is not None}
    places = by_ids(qbt.locations, ids, active="both")
    found = {}
    for item in items:
        code = codes.get(item.job_id)
        found[item.job_id] = observe_for(item, code, places) if code else Observed()
    return found


def _read_jobcodes(qbt: QuickBooksTime, batch: Batch, items: list[Item]) -> dict[int, Jobcode]:
    """Return each job's jobcode: by its id where we know it, else by name."""
    ids = [item.observed.jobcode_id for item in items if item.observed.jobcode_id is not None]
    known = {code.id: code for code in by_ids(qbt.jobcodes, ids, **ANY)}
    result = {}
    for item in items:
        code = known.get(item.observed.jobcode_id or 0)
        for name in item.names if code is None else ():
            code = code or choose(_keep_free(batch, named(qbt, name)), name)
        if code is not None and name_key(code.name) != item.key:
            # Whoever has the name may be a job of ours whose record is out of date.
            _keep_free(batch, named(qbt, item.desired.name))
        if code is not None:
            result[item.job_id] = code
    return result


def unmanaged(db: Database, codes: Iterable[Jobcode]) -> list[Jobcode]:
    """Return those that no job is linked to."""
    everything = list(codes)
    if not everything:
        return []
    with db.read() as conn:
        managed = links.with_jobcodes(conn, [code.id for code in everything])
    return [code for code in everything if code.id not in managed]


def _keep_free(batch: Batch, codes: Sequence[Jobcode]) -> list[Jobcode]:
    """Return the unmanaged ones; correct the records of the jobs that have the others."""
    with batch.db.begin() as conn:
        managed = links.with_jobcodes(conn, [code.id for code in codes])
        for code in codes:
            if code.id in managed:
                now = clock(conn)
                links.refresh_observed(conn, managed[code.id], code, lease=batch.lease, now=now)
                _refresh_item(batch, managed[code.id], code)
    return [code for code in codes if code.id not in managed]


def _refresh_item(batch: Batch, job_id: int, code: Jobcode) -> None:
    """Correct the same in the batch, so that a later write does not put the old name back."""
    item = batch.items.get(job_id)
    if item is not None:
        item.observed = replace(
            item.observed,
            name=code.name,
            active=code.active,
            assigned_to_all=code.assigned_to_all,
        )


def find_adoptable(conn: Connection, items: Sequence[Item]) -> dict[int, tuple[Observed, bool]]:
    """Find jobcodes of the newest export that have the numbers of jobs without a jobcode.

    Returns what the export shows, and whether that is sure enough to write by it: the export is
    young, and no location is shared with another jobcode.
    """
    run = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    rows = exports.named(conn, run.run_id, [item.key for item in items]) if run and items else []
    if run is None or not rows:
        return {}
    rows += exports.sharers(conn, run.run_id, {r.location_id for r in rows if r.location_id})
    codes, places = exports.read_back(rows)
    managed = links.with_jobcodes(conn, list(codes))
    free = [code for code in codes.values() if code.id not in managed]
    young = clock(conn) - run.began < YOUNG
    found = {item.job_id: adoption.find_adoptable(item, free, places.values()) for item in items}
    return {job_id: (what[0], young and what[1]) for job_id, what in found.items() if what}
