"""The export as rows: what is written, found by name, and read back as it was."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from cprqueue.domain.models import Address, Jobcode, Location
from cprqueue.domain.records import ExportRow
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import Transient
from cprqueue.store import exports, runs
from cprqueue.store.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Jobcode(id=1, name="Shop", assigned_to_all=True, has_children=True, short_code="S")
PHASE = Jobcode(id=2, name="Phase 1", parent_id=1, active=False, last_modified=NOON)
VACATION = Jobcode(id=3, name="Vacation", type="pto")
YARD = Location(
    id=11, address=Address("5 Yard Road", "b", "Boise", "ID", "83702"), jobcode_ids=(1, 2)
)
HOME = Location(id=12, address=Address("1 Elm"), jobcode_ids=(1,), last_modified=NOON)
ALONE = Location(id=13, address=Address("9 Far Road"), active=False)
STRAY = Location(id=14, address=Address("7 Odd Street"), jobcode_ids=(98, 99))
CODES, PLACES = (VACATION, PHASE, SHOP), (STRAY, ALONE, HOME, YARD)


def write(
    db: Database, codes: Iterable[Jobcode] = CODES, places: Iterable[Location] = PLACES
) -> int:
    """Write a complete snapshot; return its run."""
    with db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT, now=NOON, state=RunState.DONE)
        exports.write(conn, run_id, exports.rows_of(codes, places))
        runs.change(conn, run_id, emitted=len(list(codes)))
    return run_id


def pairs(rows: Iterable[ExportRow]) -> list[tuple[int | None, int | None]]:
    return [(row.jobcode_id, row.location_id) for row in rows]


def test_there_is_one_row_for_each_jobcode_and_location_together() -> None:
    rows = exports.rows_of(CODES, PLACES)
    found = [(row.jobcode_id, row.location_id) for row in rows]
    assert found == [(1, 11), (1, 12), (2, 11), (3, None), (None, 13), (None, 14)]


def test_a_row_without_a_jobcode_or_a_location_leaves_their_columns_empty() -> None:
    rows = exports.rows_of([SHOP], [ALONE])
    shop, alone = rows
    assert (shop.name, shop.name_key, shop.type, shop.short_code) == (
        "Shop", "shop", "regular", "S",
    )  # fmt: skip
    assert (shop.parent_id, shop.jobcode_active, shop.assigned_to_all) == (0, True, True)
    assert (shop.has_children, shop.addr1, shop.location_active) == (True, "", None)
    assert (alone.name, alone.name_key, alone.type, alone.short_code) == ("",) * 4
    assert (alone.parent_id, alone.jobcode_active, alone.assigned_to_all) == (None,) * 3
    assert (alone.has_children, alone.addr1) == (None, "9 Far Road")
    assert alone.location_active is False


def test_an_export_is_read_back_as_it_was_written(db: Database) -> None:
    run_id = write(db)
    with db.read() as conn:
        row = runs.existing(conn, run_id)
        codes, places = exports.read_whole(conn, row)
    assert codes == {code.id: code for code in CODES}
    assert {place.id: place for place in (HOME, YARD, ALONE)} == {
        n: places[n] for n in (11, 12, 13)
    }
    assert places[14].jobcode_ids == (), "the jobcodes that it is linked to are not in the export"


def test_an_export_whose_rows_are_forgotten_is_not_read_as_an_empty_one(db: Database) -> None:
    first, second = write(db), write(db)
    with db.begin() as conn:
        exports.forget(conn, [first])
        assert exports.of_run(conn, first) == []
        assert len(exports.of_run(conn, second)) == 6
        row = runs.existing(conn, first)
        with pytest.raises(Transient, match=f"the rows of export {first} are not whole"):
            exports.read_whole(conn, row)


def test_only_ordinary_top_level_jobcodes_of_that_export_are_found_by_name(db: Database) -> None:
    write(db)
    run_id = write(db)
    write(db)
    with db.read() as conn:
        rows = exports.named(conn, run_id, ["shop", "phase 1", "vacation", "nobody"])
    assert pairs(rows) == [(1, 11), (1, 12)]


def test_rows_are_found_by_jobcode_and_by_location(db: Database) -> None:
    write(db)
    run_id = write(db)
    write(db)
    with db.read() as conn:
        by_code = exports.of_jobcodes(conn, run_id, [2, 3])
        by_place = exports.sharers(conn, run_id, [11])
    assert pairs(by_code) == [(2, 11), (3, None)]
    assert pairs(by_place) == [(1, 11), (2, 11)]


def test_an_export_of_more_rows_than_one_statement_takes_is_whole(db: Database) -> None:
    many = [Jobcode(id=n, name=f"A-{n}") for n in range(1, exports.WRITE_ROWS + 3)]
    run_id = write(db, many, ())
    with db.read() as conn:
        assert [row.jobcode_id for row in exports.of_run(conn, run_id)] == [c.id for c in many]
