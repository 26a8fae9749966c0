"""Everything goes into another database, and only all of it, while nobody writes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from cprqueue.errors import CprqueueError, UsageError
from cprqueue.store import copying, locks, schema
from cprqueue.store.database import Database, count
from cprqueue.store.tables import Word, jobs, links, metadata, runs, state
from tests.other_servers import new_database

QUIET = timedelta(seconds=90)
LONG_AGO = datetime(2020, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
TEXTS = ("", " Ñandú ß", "日本 🏗️", "O'Brien \\ %s ${x}", "é is not e\u0301", "a" * 36)
HOSTS = ("CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL")


def cell(column: Column[Any], number: int, rng: random.Random) -> object:
    """Invent a value, or NULL; a leading number keeps unique columns unique."""
    if column.nullable and number % 3 == 0:
        return None
    kind = column.type
    if isinstance(kind, Word):
        return rng.choice(list(kind.kind)) if hasattr(kind.kind, "__members__") else "code"
    if isinstance(kind, Boolean):
        return rng.random() < 0.5
    if isinstance(kind, Integer) and not isinstance(kind, BigInteger):
        return number
    if isinstance(kind, Integer):
        return number if column.primary_key or "unique" in str(column) else number * 10_000_000_000
    if isinstance(getattr(kind, "impl", kind), DateTime):
        return LONG_AGO + timedelta(microseconds=number)
    return f"{number}{rng.choice(TEXTS)}"[: getattr(kind, "length", None) or 400]


def fill(db: Database, rows: int) -> None:
    """Put so many made-up rows into every table, whatever tables and columns there are."""
    rng = random.Random(5)
    schema.upgrade(db)
    with db.begin() as conn:
        for table in metadata.sorted_tables:
            conn.execute(table.delete())
            for first in range(1, rows + 1, 1000):
                numbers = range(first, min(first + 1000, rows + 1))
                conn.execute(insert(table), [row(table, number, rng) for number in numbers])


def row(table: Table, number: int, rng: random.Random) -> dict[str, object]:
    return {column.key: cell(column, number, rng) for column in table.columns}


def everything(db: Database) -> dict[str, list[tuple[object, ...]]]:
    with db.read() as conn:
        return {
            table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def silent(_table: str, _rows: int) -> None:
    """Take a report, and show nothing."""


@pytest.fixture(params=HOSTS, ids=("postgresql", "mariadb"))
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(request.param) as url, closing(Database(url)) as made:
        schema.upgrade(made)
        yield made


def test_everything_arrives_on_a_server_and_comes_back(
    db: Database, server: Database, tmp_path: Path
) -> None:
    fill(db, 1100)
    before = everything(db)
    done = copying.copy_all(db, server, quiet=QUIET, report=silent)
    assert done == dict.fromkeys(metadata.tables, 1100)
    assert everything(server) == before
    with closing(Database(f"sqlite:///{tmp_path / 'back.db'}")) as back:
        schema.upgrade(back)
        copying.copy_all(server, back, quiet=QUIET, report=silent)
        assert everything(back) == before
    with server.begin() as conn:  # what is new is numbered behind what came along
        new = {"key": "new", "kind": "fetch", "state": "queued", "created_at": LONG_AGO}
        assert conn.execute(insert(runs).values(new)).inserted_primary_key == (1101,)
    with pytest.raises(UsageError, match="not empty: its table .* has 1100 rows"):
        copying.copy_all(db, server, quiet=QUIET, report=silent)
