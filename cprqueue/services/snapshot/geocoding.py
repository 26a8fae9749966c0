"""Each night: which addresses QuickBooks Time could not place, into the newest snapshot's rows.

One listing of at most ``PAGES`` pages, then one short transaction: killed before its commit, it
changed nothing, and what it writes is the same a second time. Nothing else waits for it, so
whatever keeps it from asking keeps it until the next night.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.mapping import read_location
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import (
    AccessStopped,
    CprqueueError,
    DatabaseUnavailable,
    OutOfCalls,
    Refused,
)
from cprqueue.services import gates
from cprqueue.store import places, runs
from cprqueue.store.database import Database
from cprqueue.store.places import PLACED, REFUSED_PLACES

log = logging.getLogger(__name__)

PAGES = 5
"""So many pages are asked for in a night, beside one call for a filter that is refused."""

FILTER = {"geocoding_status": ",".join(REFUSED_PLACES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What each location says of itself; ``whole``: none of those not placed is missing."""

    statuses: dict[int, str]
    whole: bool


def read(db: Database, qbt: QuickBooksTime) -> str:
    """Ask QuickBooks Time, note what it says, and return in a few words what was done.

    Where there are no calls left, no answer or a closed gate, nothing is changed. An error that
    lets nothing in stops the push too. Raises DatabaseUnavailable.
    """
    with db.read() as conn:
        closed, newest = gates.closed_because(conn), _newest(conn)
    if closed or newest is None:
        return f"not asked: {closed or 'no snapshot was taken yet'}"
    try:
        listed = _listed(qbt)
    except DatabaseUnavailable:
        raise
    except CprqueueError as error:
        return _until_tomorrow(db, error)
    failpoints.point("read_geocoding")
    # A snapshot that ended meanwhile read the same things later: its rows are left alone.
    with db.begin() as conn:
        return _note(conn, newest, listed)


def _newest(conn: Connection) -> int | None:
    newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    return newest.run_id if newest else None


def _until_tomorrow(db: Database, error: CprqueueError) -> str:
    if isinstance(error, AccessStopped):
        gates.stop_push(db, error)
    level = logging.INFO if isinstance(error, OutOfCalls) else logging.WARNING
    log.log(level, "places not read: again next night", extra={"reason": str(error)})
    return f"again next night: {error}"


def _listed(qbt: QuickBooksTime) -> Listed:
    """Read the locations that were not placed; all of them where that filter is refused."""
    try:
        return _pages(qbt, FILTER)
    except Refused as error:
        log.info("all locations are read instead", extra={"reason": str(error)})
        return _pages(qbt, {})


def _pages(qbt: QuickBooksTime, filters: dict[str, str]) -> Listed:
    statuses: dict[int, str] = {}
    more = False
    for items, more in islice(qbt.pages("locations", filters), PAGES):  # noqa: B007
        found = map(read_location, items)
        statuses.update((place.id, place.geocoding_status) for place in found)
    return Listed(statuses=statuses, whole=not more)


def _note(conn: Connection, run_id: int, listed: Listed) -> str:
    """Write it down. Who was not placed and is not listed any more is placed by now."""
    gone = places.refused(conn, run_id) - set(listed.statuses) if listed.whole else set()
    said = {place: status for place, status in listed.statuses.items() if status}
    places.note(conn, run_id, said | dict.fromkeys(gone, PLACED))
    number = len(places.refused(conn, run_id))
    return f"{number} not placed" + ("" if listed.whole else "; there are more than were read")
