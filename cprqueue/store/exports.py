"""Table ``qbt_export``: snapshots of QuickBooks Time, by run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from cprqueue.domain.models import Address, Jobcode, Location, name_key
from cprqueue.domain.records import ExportRow, Run
from cprqueue.errors import Transient
from cprqueue.store.chunks import chunks
from cprqueue.store.tables import qbt_export

WRITE_ROWS = 500


def write(conn: Connection, run_id: int, rows: Sequence[ExportRow]) -> None:
    """Write rows of a snapshot."""
    for start in range(0, len(rows), WRITE_ROWS):
        part = [{"run_id": run_id, **row.as_row()} for row in rows[start : start + WRITE_ROWS]]
        conn.execute(insert(qbt_export).inline(), part)


def rows_of(jobcodes: Iterable[Jobcode], locations: Iterable[Location]) -> list[ExportRow]:
    """Build the rows: one for each jobcode and location together, by jobcode, then location."""
    by_jobcode: dict[int | None, list[Location]] = {}
    for location in sorted(locations, key=lambda place: place.id):
        for jobcode_id in location.jobcode_ids or (None,):
            by_jobcode.setdefault(jobcode_id, []).append(location)
    rows: list[ExportRow] = []
    for jobcode in sorted(jobcodes, key=lambda code: code.id):
        places: list[Location | None] = [*by_jobcode.pop(jobcode.id, [])] or [None]
        rows += [_row(jobcode, place) for place in places]
    seen: set[int] = set()
    for place in (place for places in by_jobcode.values() for place in places):
        if place.id not in seen:
            rows.append(_row(None, place))
            seen.add(place.id)
    return rows


def _row(jobcode: Jobcode | None, location: Location | None) -> ExportRow:
    address = location.address if location else Address()
    return ExportRow(
        jobcode_id=jobcode.id if jobcode else None,
        name=jobcode.name if jobcode else "",
        name_key=name_key(jobcode.name) if jobcode else "",
        type=jobcode.type if jobcode else "",
        parent_id=jobcode.parent_id if jobcode else None,
        jobcode_active=jobcode.active if jobcode else None,
        assigned_to_all=jobcode.assigned_to_all if jobcode else None,
        has_children=jobcode.has_children if jobcode else None,
        short_code=jobcode.short_code if jobcode else "",
        jobcode_modified_at=jobcode.last_modified if jobcode else None,
        location_id=location.id if location else None,
        **address.as_dict(),
        location_active=location.active if location else None,
        location_modified_at=location.last_modified if location else None,
        geocoding_status=location.geocoding_status if location else None,
    )


def named(conn: Connection, run_id: int, keys: Sequence[str]) -> list[ExportRow]:
    """Return the rows of ordinary top-level jobcodes whose names count as one of ``keys``."""
    at_the_top = and_(qbt_export.c.type == "regular", qbt_export.c.parent_id == 0)
    found: list[ExportRow] = []
    for part in chunks(keys):
        where = and_(qbt_export.c.run_id == run_id, qbt_export.c.name_key.in_(part))
        found += _rows(conn, and_(where, at_the_top))
    return found


def _rows(conn: Connection, where: ColumnElement[bool]) -> list[ExportRow]:
    statement = select(qbt_export).where(where).order_by(qbt_export.c.row_id)
    return [ExportRow.from_row(row) for row in conn.execute(statement).mappings()]


def of_jobcodes(conn: Connection, run_id: int, ids: Iterable[int]) -> list[ExportRow]:
    """Return the rows of these jobcodes."""
    found: list[ExportRow] = []
    for part in chunks(ids):
        where = and_(qbt_export.c.run_id == run_id, qbt_export.c.jobcode_id.in_(part))
        found += _rows(conn, where)
    return found


def of_run(conn: Connection, run_id: int) -> list[ExportRow]:
    """Return all rows of a snapshot."""
    return _rows(conn, qbt_export.c.run_id == run_id)


def read_whole(conn: Connection, run: Run) -> tuple[dict[int, Jobcode], dict[int, Location]]:
    """Return all jobcodes and locations of a complete snapshot, by id.

    Raises Transient where rows are missing, because newer snapshots have just taken its place:
    an export without its rows would look like a QuickBooks Time without jobcodes.
    """
    jobcodes, locations = read_back(of_run(conn, run.run_id))
    if len(jobcodes) != run.emitted:
        raise Transient(f"the rows of export {run.run_id} are not whole: take a new snapshot")
    return jobcodes, locations


def read_back(rows: Iterable[ExportRow]) -> tuple[dict[int, Jobcode], dict[int, Location]]:
    """Rebuild jobcodes and locations from rows; a location's links are those among the rows."""
    jobcodes: dict[int, Jobcode] = {}
    places: dict[int, ExportRow] = {}
    linked: dict[int, list[int]] = {}
    for row in rows:
        if row.jobcode_id is not None and row.jobcode_id not in jobcodes:
            jobcodes[row.jobcode_id] = _jobcode(row, row.jobcode_id)
        if row.location_id is not None:
            places[row.location_id] = row
            if row.jobcode_id is not None:
                linked.setdefault(row.location_id, []).append(row.jobcode_id)
    locations = {id_: _location(row, id_, linked.get(id_, [])) for id_, row in places.items()}
    return jobcodes, locations


def sharers(conn: Connection, run_id: int, location_ids: Iterable[int]) -> list[ExportRow]:
    """Return all rows of these locations, so that every jobcode that uses one is known."""
    found: list[ExportRow] = []
    for part in chunks(location_ids):
        where = and_(qbt_export.c.run_id == run_id, qbt_export.c.location_id.in_(part))
        found += _rows(conn, where)
    return found


def _jobcode(row: ExportRow, id_: int) -> Jobcode:
    return Jobcode(
        id=id_,
        name=row.name,
        parent_id=row.parent_id or 0,
        type=row.type,
        active=bool(row.jobcode_active),
        assigned_to_all=bool(row.assigned_to_all),
        has_children=bool(row.has_children),
        short_code=row.short_code,
        last_modified=row.jobcode_modified_at,
    )


def _location(row: ExportRow, id_: int, jobcode_ids: list[int]) -> Location:
    return Location(
        id=id_,
        address=Address(row.addr1, row.addr2, row.city, row.state, row.zip),
        active=bool(row.location_active),
        jobcode_ids=tuple(jobcode_ids),
        last_modified=row.location_modified_at,
        geocoding_status=row.geocoding_status or "",
    )


def forget(conn: Connection, run_ids: Iterable[int]) -> None:
    """Delete the rows of these snapshots."""
    for run_id in run_ids:
        conn.execute(delete(qbt_export).where(qbt_export.c.run_id == run_id))
