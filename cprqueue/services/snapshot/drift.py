"""Drift: what people changed by hand in QuickBooks Time, found by a snapshot and put right.

The export becomes what we believe that each job holds; whoever differs from what is wanted is
due, and the normal push sets it back. Jobs pushed since the snapshot began are left alone: for
them the export is older than the record.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TypedDict

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.hierarchy import locations_by_jobcode
from cprqueue.domain.models import Jobcode, Location, Observed
from cprqueue.domain.push_plan import differences, observe
from cprqueue.domain.records import ClaimedLink, LinkState, VerificationKind
from cprqueue.services.push.batch import Item, read_item
from cprqueue.store import events, exports, links, push_queue, runs
from cprqueue.store.database import Database, clock
from cprqueue.store.jobs import chunks

log = logging.getLogger(__name__)

LINKS_AT_ONCE = 500


class Drifted(TypedDict):
    """A job whose jobcode or location somebody changed."""

    job_id: int
    job_number: str
    text: str


def find(db: Database, run_id: int) -> list[Drifted]:
    """Compare every link with the export of ``run_id``; return a row for each drifted job."""
    with db.read() as conn:
        run = runs.existing(conn, run_id)
        codes, places = exports.read_whole(conn, run)
        job_ids = links.managed_ids(conn)
    near = locations_by_jobcode(places.values())
    found: list[Drifted] = []
    for part in chunks(job_ids, LINKS_AT_ONCE):
        with db.begin() as conn:
            now = clock(conn)
            for row in push_queue.with_jobs(conn, part):
                if not _moving(row, since=run.began, now=now):
                    found += _compare(conn, row, codes, places, near)
    if found:
        log.warning("drift found", extra={"jobs": len(found)})
    return found


def _moving(row: ClaimedLink, *, since: datetime, now: datetime) -> bool:
    """Tell whether the record is newer than the export, or about to be."""
    leased = row.lease_until is not None and row.lease_until >= now
    return bool(leased or row.intent or (row.pushed_at and row.pushed_at >= since))


def _compare(
    conn: Connection,
    row: ClaimedLink,
    codes: dict[int, Jobcode],
    places: dict[int, Location],
    near: dict[int, list[Location]],
) -> list[Drifted]:
    item = read_item(row)
    code = codes.get(item.observed.jobcode_id or 0)
    if code is None:
        return _missing(conn, item, row.state)
    linked = {place.id: place for place in near.get(code.id, [])}
    own = places.get(item.observed.location_id or 0)
    if own is not None:
        linked[own.id] = own
    observed = observe(
        code, linked.values(), ours=item.observed.location_id, address=item.desired.address
    )
    equal = all(row.equal for row in differences(item.desired, observed))
    if observed == item.observed and (equal or row.state != LinkState.IN_SYNC):
        return []
    return _note(conn, row, item, observed, code, equal=equal)


def _note(
    conn: Connection,
    row: ClaimedLink,
    item: Item,
    observed: Observed,
    code: Jobcode,
    *,
    equal: bool,
) -> list[Drifted]:
    verification: VerificationKind | None = None
    now = clock(conn)
    try:
        with conn.begin_nested():
            if not links.correct_observed(
                conn, item.job_id, observed, was=row.observed_text, now=now
            ):
                return []
    except IntegrityError:
        verification = (
            VerificationKind.FULL
        )  # two jobs share a jobcode or location now: the push sorts it out
    if row.state != LinkState.IN_SYNC or (equal and verification is None):
        return []
    push_queue.make_due(conn, item.job_id, now=now, verification=verification)
    text = f"{in_words(item.observed, observed)} in QuickBooks Time{_moment(code)}: set back"
    events.add(conn, [events.event(item.job_id, "drift", text, at=now)])
    return [{"job_id": item.job_id, "job_number": item.number, "text": text}]


def _missing(conn: Connection, item: Item, state: LinkState) -> list[Drifted]:
    """The jobcode is not in the export: look at it by its id before anything is believed."""
    if state != LinkState.IN_SYNC:
        return []  # nobody pushes it now; the push that comes looks for itself
    now = clock(conn)
    push_queue.make_due(conn, item.job_id, now=now, verification=VerificationKind.FULL)
    text = f"jobcode {item.observed.jobcode_id} was not in the export: looking for it"
    events.add(conn, [events.event(item.job_id, "drift", text, at=now)])
    return [{"job_id": item.job_id, "job_number": item.number, "text": text}]


def in_words(before: Observed, after: Observed) -> str:
    """Say what somebody did by hand, without any address."""
    words = []
    if after.name != before.name:
        words.append(f"renamed to {after.name!r}")
    if before.active and not after.active:
        words.append("archived")
    if before.assigned_to_all and not after.assigned_to_all and after.active:
        words.append("no longer assigned to all")
    if after.address != before.address or after.location_id != before.location_id:
        words.append("location changed")
    elif before.location_linked != after.location_linked:
        words.append("location unlinked" if before.location_linked else "location linked")
    if len(after.spares) > len(before.spares):
        words.append("another location linked")
    return ", ".join(words) or "changed"


def _moment(code: Jobcode) -> str:
    return f" on {code.last_modified:%Y-%m-%d}" if code.last_modified else ""
