"""Drift: what people changed by hand in QuickBooks Time, found by a snapshot and put right.

The export becomes the observed state of each job; a job whose desired state differs is due, and
the normal push sets it back. Jobs pushed since the snapshot began are left alone: for them the
export is older than the record. If the process dies in the middle, the snapshot is taken again,
and a job that was corrected before is not found a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.hierarchy import locations_by_jobcode
from cprqueue.domain.models import Desired, Jobcode, Location, Observed
from cprqueue.domain.push_plan import differences, observe
from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import LinkState, VerificationKind
from cprqueue.store import events, exports, links, push_queue, runs
from cprqueue.store.chunks import chunks
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

LINKS_AT_ONCE = 500


class Drifted(TypedDict):
    """A job whose jobcode or location somebody changed."""

    job_id: int
    job_number: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """QuickBooks Time as the export shows it."""

    jobcodes: Mapping[int, Jobcode]
    locations: Mapping[int, Location]
    linked: Mapping[int, Sequence[Location]]

    def locations_of(self, row: ClaimedLink, code: Jobcode) -> list[Location]:
        """Return the locations that are linked to the jobcode, and the job's own."""
        own = self.locations.get(row.observed.location_id or 0)
        found = {place.id: place for place in (*self.linked.get(code.id, []), own) if place}
        return list(found.values())


def find(db: Database, run_id: int, alive: Callable[[], None] = lambda: None) -> list[Drifted]:
    """Compare every link with the export of ``run_id``; return a row for each drifted job.

    ``alive`` is called now and then. Raises Transient where the export's rows are not whole.
    """
    with db.read() as conn:
        run = runs.existing(conn, run_id)
        jobcodes, locations = exports.read_whole(conn, run)
        job_ids = links.managed_ids(conn)
    linked = locations_by_jobcode(locations.values())
    account = _Account(jobcodes=jobcodes, locations=locations, linked=linked)
    found: list[Drifted] = []
    for part in chunks(job_ids, LINKS_AT_ONCE):
        with db.begin() as conn:
            now = clock(conn)
            for row in push_queue.with_jobs(conn, part):
                if not _moving(row, since=run.began, now=now):
                    found += _compare(conn, row, account, now)
        alive()
    if found:
        log.warning("drift found", extra={"jobs": len(found)})
    return found


def _moving(row: ClaimedLink, *, since: datetime, now: datetime) -> bool:
    """Tell whether the record is newer than the export, or about to be."""
    leased = row.lease_until is not None and row.lease_until >= now
    return bool(leased or row.intent or (row.pushed_at and row.pushed_at >= since))


def _compare(conn: Connection, row: ClaimedLink, account: _Account, now: datetime) -> list[Drifted]:
    code = account.jobcodes.get(row.observed.jobcode_id or 0)
    if code is None:
        return _missing(conn, row, now)
    ours, desired = row.observed.location_id, Desired(name=row.job_number, address=row.address)
    places = account.locations_of(row, code)
    observed = observe(code, places, ours=ours, address=row.address)
    equal = all(difference.equal for difference in differences(desired, observed))
    if observed == row.observed and (equal or row.state is not LinkState.IN_SYNC):
        return []
    verification: VerificationKind | None = None
    was = row.observed_text
    try:
        with conn.begin_nested():
            if not links.correct_observed(conn, row.job_id, observed, was=was, now=now):
                return []
    except IntegrityError:
        # Two jobs share a jobcode or location now: the push sorts it out.
        verification = VerificationKind.FULL
    if row.state is not LinkState.IN_SYNC or (equal and verification is None):
        return []
    text = f"{in_words(row.observed, observed)} in QuickBooks Time{_moment(code)}: set back"
    return [_note(conn, row, text, now, verification)]


def _missing(conn: Connection, row: ClaimedLink, now: datetime) -> list[Drifted]:
    """The jobcode is not in the export: verify it by its id before anything is believed."""
    if row.state is not LinkState.IN_SYNC:
        return []  # nobody pushes it now; the push that comes verifies it anyway
    text = f"jobcode {row.observed.jobcode_id} was not in the export: looking for it"
    return [_note(conn, row, text, now, VerificationKind.FULL)]


def _note(
    conn: Connection,
    row: ClaimedLink,
    text: str,
    now: datetime,
    verification: VerificationKind | None,
) -> Drifted:
    push_queue.make_due(conn, row.job_id, now=now, verification=verification)
    events.add(conn, [events.event(row.job_id, "drift", text, at=now)])
    return {"job_id": row.job_id, "job_number": row.job_number, "text": text}


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
