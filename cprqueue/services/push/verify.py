"""Look before writing: find out what QuickBooks Time holds for jobs where that is uncertain.

After a request whose fate is unknown, one listing of what changed since serves the whole
batch. Whatever is not in that listing has not changed, so our record of it still holds; that is
why the listing is read so that no row can slip past between two of its pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue.clients.listings import (
    ANY,
    OVERLAP,
    by_ids,
    changed_jobcodes,
    named,
    read_all,
    timestamp,
)
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.mapping import read_location
from cprqueue.domain.models import Address, Jobcode, Location, Observed, name_key
from cprqueue.domain.push_plan import observe
from cprqueue.domain.records import Intent, RunKind, RunState, VerificationKind
from cprqueue.services.push.batch import Batch, Item
from cprqueue.store import exports, links, runs
from cprqueue.store.database import Database, clock

YOUNG = timedelta(hours=1)
"""An export older than this says which jobcode to adopt, but no longer how it is."""


def verify(qbt: QuickBooksTime, batch: Batch, items: list[Item]) -> None:
    """Read what is held for ``items`` and write it down. Raises the client's errors."""
    recent = [
        item
        for item in items
        if item.verification is VerificationKind.CHANGES and _only_unconfirmed_change(item)
    ]
    found: dict[int, Observed] = {}
    if recent:
        found |= _read_changes(qbt, batch.db, recent)
    whole = [item for item in items if item.job_id not in found]
    if whole:
        found |= _read_everything(qbt, batch.db, whole)
    with batch.db.begin() as conn:
        for item in items:
            item.fully_verified = item.fully_verified or item in whole
            batch.record_observed(conn, item, found[item.job_id])


def _only_unconfirmed_change(item: Item) -> bool:
    """Tell whether what the lost request did is all that our record may lack."""
    return item.intent_at is not None and (
        item.observed.jobcode_id is not None or item.intent is Intent.CREATE_JOBCODE
    )


def _read_changes(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Observed]:
    since = min(item.intent_at for item in items if item.intent_at)
    codes: dict[int, Jobcode] = {}
    if any("jobcode" in (item.intent or "") for item in items):
        codes = {code.id: code for code in changed_jobcodes(qbt, since)}
    places: list[Location] = []
    if any("location" in (item.intent or "") for item in items):
        filters = {"modified_since": timestamp(since - OVERLAP), "active": "both"}
        places = read_all(qbt, "locations", read_location, filters)
    free = unmanaged(db, codes.values())
    found = {item.job_id: _observed_after(item, codes, places, free) for item in items}
    return {job_id: observed for job_id, observed in found.items() if observed is not None}


def _observed_after(
    item: Item, codes: dict[int, Jobcode], places: Sequence[Location], free: Sequence[Jobcode]
) -> Observed | None:
    """Return what is held; None for a jobcode that was there before, with locations of its own."""
    jobcode = codes.get(item.observed.jobcode_id or 0) or _unchanged(item.observed)
    for name in item.names if jobcode is None else ():
        jobcode = jobcode or choose(free, name)
    if jobcode is None:
        return Observed()
    if item.observed.jobcode_id is None and jobcode.location_ids:
        return None
    near = {place.id: place for place in _unchanged_places(item.observed)}
    near |= {p.id: p for p in places if jobcode.id in p.jobcode_ids or p.id in near}
    return observe(
        jobcode, near.values(), ours=item.observed.location_id, address=item.desired.address
    )


def _unchanged(observed: Observed) -> Jobcode | None:
    if observed.jobcode_id is None:
        return None
    return Jobcode(
        id=observed.jobcode_id,
        name=observed.name,
        active=observed.active,
        assigned_to_all=observed.assigned_to_all,
    )


def _unchanged_places(observed: Observed) -> list[Location]:
    """Rebuild our location and the spare ones; of a spare one the address is not on record."""
    if observed.jobcode_id is None:
        return []
    own = (observed.jobcode_id,)
    places = [
        Location(id=spare.location_id, address=Address(), jobcode_ids=(*own, *spare.others))
        for spare in observed.spares
    ]
    if observed.location_id is not None:
        linked = observed.location_linked
        place = Location(
            id=observed.location_id,
            address=observed.address,
            active=linked,
            jobcode_ids=own if linked else (),
        )
        places.append(place)
    return places


def _read_everything(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Observed]:
    codes = _jobcodes_of(qbt, db, items)
    ids = {i for code in codes.values() for i in code.location_ids}
    ids |= {item.observed.location_id for item in items if item.observed.location_id is not None}
    places = by_ids(qbt.locations, ids, active="both")
    found = {}
    for item in items:
        code = codes.get(item.job_id)
        found[item.job_id] = _observed_now(item, code, places) if code else Observed()
    return found


def _observed_now(item: Item, code: Jobcode, places: Iterable[Location]) -> Observed:
    near = [p for p in places if code.id in p.jobcode_ids or p.id == item.observed.location_id]
    return observe(code, near, ours=item.observed.location_id, address=item.desired.address)


def _jobcodes_of(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Jobcode]:
    """Return each job's jobcode: by its id where we know it, else by name."""
    ids = [item.observed.jobcode_id for item in items if item.observed.jobcode_id is not None]
    known = {code.id: code for code in by_ids(qbt.jobcodes, ids, **ANY)}
    result = {}
    for item in items:
        code = known.get(item.observed.jobcode_id or 0)
        for name in item.names if code is None else ():
            code = code or choose(_free(db, named(qbt, name)), name)
        if code is not None and name_key(code.name) != item.key:
            # Whoever bears the name may be a job of ours whose record is out of date.
            _free(db, named(qbt, item.desired.name))
        if code is not None:
            result[item.job_id] = code
    return result


def choose(candidates: Iterable[Jobcode], name: str) -> Jobcode | None:
    """Return the jobcode to adopt for ``name``: an active one first, then the exact spelling."""
    fit = [
        code
        for code in candidates
        if code.type == "regular" and code.parent_id == 0 and name_key(code.name) == name_key(name)
    ]
    return min(fit, key=lambda c: (not c.active, c.name != name, c.id), default=None)


def unmanaged(db: Database, codes: Iterable[Jobcode]) -> list[Jobcode]:
    """Return those that no job is linked to."""
    everything = list(codes)
    if not everything:
        return []
    with db.read() as conn:
        managed = links.with_jobcodes(conn, [code.id for code in everything])
    return [code for code in everything if code.id not in managed]


def _free(db: Database, codes: Sequence[Jobcode]) -> list[Jobcode]:
    """Return the unmanaged ones; correct the records of the jobs that have the others."""
    with db.begin() as conn:
        managed = links.with_jobcodes(conn, [code.id for code in codes])
        for code in codes:
            if code.id in managed:
                links.refresh_observed(conn, managed[code.id], code, now=clock(conn))
    return [code for code in codes if code.id not in managed]


def adoptable(conn: Connection, items: Sequence[Item]) -> dict[int, tuple[Observed, bool]]:
    """Find jobcodes of the newest export that bear the numbers of jobs without a jobcode.

    Returns what the export says is held, and whether that is sure enough to write by it: the
    export is young, and no location is shared with another jobcode.
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
    found: dict[int, tuple[Observed, bool]] = {}
    for item in items:
        code = choose(free, item.desired.name)
        if code is not None:
            observed = _observed_now(item, code, places.values())
            found[item.job_id] = (
                observed,
                young and not any(spare.others for spare in observed.spares),
            )
    return found
