"""Whether QuickBooks Time could place each location, in the rows of a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, and_, or_, select, update

from cprqueue.store.chunks import chunks
from cprqueue.store.tables import qbt_export

REFUSED_PLACES = ("error", "retry")
"""What QuickBooks Time calls an address that it could not place ("The Location object")."""

PLACED = "complete"


def refused(conn: Connection, run_id: int) -> set[int]:
    """Return the locations that were not placed, by the rows of this snapshot."""
    status = qbt_export.c.geocoding_status
    where = and_(qbt_export.c.run_id == run_id, status.in_(REFUSED_PLACES))
    return set(conn.execute(select(qbt_export.c.location_id).where(where)).scalars())


def note(conn: Connection, run_id: int, statuses: Mapping[int, str]) -> None:
    """Write each location's status into the rows of this snapshot; unknown ones have none."""
    by_status: dict[str, list[int]] = {}
    for location_id, status in sorted(statuses.items()):
        by_status.setdefault(status, []).append(location_id)
    for status, ids in by_status.items():
        _note(conn, run_id, ids, status)


def _note(conn: Connection, run_id: int, ids: Iterable[int], status: str) -> None:
    column = qbt_export.c.geocoding_status
    for part in chunks(ids):
        mine = and_(qbt_export.c.run_id == run_id, qbt_export.c.location_id.in_(part))
        differs = or_(column.is_(None), column != status)
        conn.execute(update(qbt_export).where(mine, differs).values(geocoding_status=status))
