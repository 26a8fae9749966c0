"""Look before writing: find out what QuickBooks Time holds for jobs where that is uncertain.

After a request whose fate is unknown, one listing of what changed since serves the whole
batch. Whatever is not in that listing has not changed, so our record of it still holds; that is
why the listing is read so that no row can slip past between two of its pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from cprqueue.mapping import read_jobcode, read_location
from cprqueue.models import BATCH, Address, Held, Jobcode, Location, name_key
from cprqueue.plan import observe
from cprqueue.qbtime import QuickBooksTime
from cprqueue.records import Intent, LookKind, RunKind, RunState
from cprqueue.services.batch import Batch, Item
from cprqueue.services.snapshot import read_all
from cprqueue.store import exports, links, runs
from cprqueue.store.database import Database, clock

OVERLAP = timedelta(minutes=5)
"""The clocks of QuickBooks Time and of our database may differ by this much."""

YOUNG = timedelta(hours=1)
"""An export older than this says which jobcode to adopt, but no longer how it is."""

ANY = {"active": "both", "type": "all"}

T = TypeVar("T", Jobcode, Location)


def look(qbt: QuickBooksTime, batch: Batch, items: list[Item]) -> None:
    """Read what is held for ``items`` and write it down. Raises the client's errors."""
    recent = [
        item for item in items if item.look is LookKind.CHANGES and _may_have_changed_alone(item)
    ]
    found: dict[int, Held] = {}
    if recent:
        found |= _look_at_changes(qbt, batch.db, recent)
    whole = [item for item in items if item.job_id not in found]
    if whole:
        found |= _look_at_everything(qbt, batch.db, whole)
    with batch.db.begin() as conn:
        for item in items:
            item.looked_whole = item.looked_whole or item in whole
            batch.believe(conn, item, found[item.job_id])


def _may_have_changed_alone(item: Item) -> bool:
    """Tell whether what the lost request did is all that our record may lack."""
    return item.intent_at is not None and (
        item.held.jobcode_id is not None or item.intent is Intent.CREATE_JOBCODE
    )


def _look_at_changes(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Held]:
    since = min(item.intent_at for item in items if item.intent_at)
    codes: dict[int, Jobcode] = {}
    if any("jobcode" in (item.intent or "") for item in items):
        codes = {code.id: code for code in changed_jobcodes(qbt, since)}
    places: list[Location] = []
    if any("location" in (item.intent or "") for item in items):
        filters = {"modified_since": _moment(since - OVERLAP), "active": "both"}
        places = read_all(qbt, "locations", read_location, filters)
    free = unmanaged(db, codes.values())
    found = {item.job_id: _held_after(item, codes, places, free) for item in items}
    return {job_id: held for job_id, held in found.items() if held is not None}


def changed_jobcodes(qbt: QuickBooksTime, since: datetime) -> list[Jobcode]:
    """Read every jobcode of any kind that was made or changed since then."""
    filters = {"modified_since": _moment(since - OVERLAP), **ANY}
    return read_all(qbt, "jobcodes", read_jobcode, filters)


def _held_after(
    item: Item, codes: dict[int, Jobcode], places: Sequence[Location], free: Sequence[Jobcode]
) -> Held | None:
    """Return what is held; None for a jobcode that was there before, with locations of its own."""
    jobcode = codes.get(item.held.jobcode_id or 0) or _unchanged(item.held)
    for name in item.names if jobcode is None else ():
        jobcode = jobcode or choose(free, name)
    if jobcode is None:
        return Held()
    if item.held.jobcode_id is None and jobcode.location_ids:
        return None
    near = {place.id: place for place in _unchanged_places(item.held)}
    near |= {p.id: p for p in places if jobcode.id in p.jobcode_ids or p.id in near}
    return observe(jobcode, near.values(), ours=item.held.location_id, address=item.wanted.address)


def _unchanged(held: Held) -> Jobcode | None:
    if held.jobcode_id is None:
        return None
    return Jobcode(
        id=held.jobcode_id,
        name=held.name,
        active=held.active,
        assigned_to_all=held.assigned_to_all,
    )


def _unchanged_places(held: Held) -> list[Location]:
    """Rebuild our location and the spare ones; of a spare one the address is not on record."""
    if held.jobcode_id is None:
        return []
    own = (held.jobcode_id,)
    places = [
        Location(id=spare.location_id, address=Address(), jobcode_ids=(*own, *spare.others))
        for spare in held.spares
    ]
    if held.location_id is not None:
        linked = held.location_linked
        place = Location(
            id=held.location_id,
            address=held.address,
            active=linked,
            jobcode_ids=own if linked else (),
        )
        places.append(place)
    return places


def _look_at_everything(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Held]:
    codes = _jobcodes_of(qbt, db, items)
    ids = {i for code in codes.values() for i in code.location_ids}
    ids |= {item.held.location_id for item in items if item.held.location_id is not None}
    places = by_ids(qbt.locations, ids, active="both")
    found = {}
    for item in items:
        code = codes.get(item.job_id)
        found[item.job_id] = _held_now(item, code, places) if code else Held()
    return found


def _held_now(item: Item, code: Jobcode, places: Iterable[Location]) -> Held:
    near = [p for p in places if code.id in p.jobcode_ids or p.id == item.held.location_id]
    return observe(code, near, ours=item.held.location_id, address=item.wanted.address)


def _jobcodes_of(qbt: QuickBooksTime, db: Database, items: list[Item]) -> dict[int, Jobcode]:
    """Return each job's jobcode: by its id where we know it, else by name."""
    ids = [item.held.jobcode_id for item in items if item.held.jobcode_id is not None]
    known = {code.id: code for code in by_ids(qbt.jobcodes, ids, **ANY)}
    result = {}
    for item in items:
        code = known.get(item.held.jobcode_id or 0)
        for name in item.names if code is None else ():
            code = code or choose(_free(db, named(qbt, name)), name)
        if code is not None and name_key(code.name) != item.key:
            # Whoever bears the name may be a job of ours whose record is out of date.
            _free(db, named(qbt, item.wanted.name))
        if code is not None:
            result[item.job_id] = code
    return result


def named(qbt: QuickBooksTime, name: str) -> list[Jobcode]:
    """Return the ordinary top-level jobcodes, archived ones too, whose names count as ``name``.

    A star in the name is a wild card for the service, so its answer is filtered again.
    """
    found = qbt.jobcodes(name=name, parent_ids=0, **ANY)
    return [code for code in found if name_key(code.name) == name_key(name)]


def by_ids(listing: Callable[..., Iterator[T]], ids: Iterable[int], **filters: str) -> list[T]:
    """Read rows by their ids, 50 a call: so many fit into any URL."""
    everything = sorted(set(ids))
    found: list[T] = []
    for start in range(0, len(everything), BATCH):
        part = ",".join(map(str, everything[start : start + BATCH]))
        found += listing(ids=part, **filters)
    return found


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
                links.seen(conn, managed[code.id], code, now=clock(conn))
    return [code for code in codes if code.id not in managed]


def adoptable(conn: Connection, items: Sequence[Item]) -> dict[int, tuple[Held, bool]]:
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
    found: dict[int, tuple[Held, bool]] = {}
    for item in items:
        code = choose(free, item.wanted.name)
        if code is not None:
            held = _held_now(item, code, places.values())
            found[item.job_id] = held, young and not any(spare.others for spare in held.spares)
    return found


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
