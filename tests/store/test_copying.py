"""Everything goes into another database, and only all of it, while nobody writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, Table, insert, select, update

from cprqueue.errors import CprqueueError, UsageError
from cprqueue.store import copying, schema
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import Word, jobs, links, metadata, runs
from cprqueue.store.tables import locks as locks_table
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
        words: dict[str, str] = dict(getattr(kind.kind, "__members__", {"": "code"}))
        return rng.choice(list(words.values()))
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


MakeEmpty = Callable[[str], Database]


@pytest.fixture
def make_empty(tmp_path: Path) -> Iterator[MakeEmpty]:
    """Make databases with empty tables, where the variable says, or on SQLite."""
    with ExitStack() as stack:

        def make(where: str) -> Database:
            file = f"sqlite:///{tmp_path / uuid.uuid4().hex}.db"
            url = file if where == "sqlite" else stack.enter_context(new_database(where))
            made = stack.enter_context(closing(Database(url)))
            schema.upgrade(made)
            return made

        yield make


@pytest.fixture(params=HOSTS, ids=("postgresql", "mariadb"))
def server(request: pytest.FixtureRequest, make_empty: MakeEmpty) -> Database:
    return make_empty(request.param)


def test_everything_arrives_on_a_server_and_comes_back(
    db: Database, server: Database, make_empty: MakeEmpty
) -> None:
    fill(db, 1100)
    before = everything(db)
    done = copying.copy_all(db, server, quiet=QUIET, report=silent)
    assert done == dict.fromkeys(metadata.tables, 1100)
    assert everything(server) == before
    back = make_empty("sqlite")
    copying.copy_all(server, back, quiet=QUIET, report=silent)
    assert everything(back) == before
    with server.begin() as conn:  # what is new is numbered behind what came along
        new = {"key": "new", "kind": "fetch", "state": "queued", "created_at": LONG_AGO}
        assert conn.execute(insert(runs).values(new)).inserted_primary_key == (1101,)
    with pytest.raises(UsageError, match=r"not empty: its table .* has 1100 rows"):
        copying.copy_all(db, server, quiet=QUIET, report=silent)


KILLED = """
import os, signal, sys
from datetime import timedelta
from cprqueue.store import copying
from cprqueue.store.database import Database

def report(table, rows):
    if table == "plan_items":
        os.kill(os.getpid(), signal.SIGKILL)

source, target = (Database(url) for url in sys.argv[1:])
copying.copy_all(source, target, quiet=timedelta(0), report=report)
"""


def test_a_copy_that_is_killed_leaves_the_target_empty_and_may_begin_again(
    db: Database, server: Database
) -> None:
    fill(db, 50)
    urls = (one.engine.url.render_as_string(hide_password=False) for one in (db, server))
    killed = subprocess.run([sys.executable, "-c", KILLED, *urls], check=False)
    assert killed.returncode == -signal.SIGKILL
    with server.read() as conn:
        copying.raise_if_filled(conn)
    assert copying.copy_all(db, server, quiet=QUIET, report=silent)["plan_items"] == 50


@pytest.mark.parametrize("where", ["sqlite", *HOSTS])
def test_nobody_writes_to_the_source_while_it_is_copied(where: str, make_empty: MakeEmpty) -> None:
    source, target = make_empty(where), make_empty("sqlite")
    fill(source, 3)
    other = Database(source.engine.url.render_as_string(hide_password=False))
    done: list[str] = []

    def write() -> None:
        with other.begin() as conn:
            conn.execute(update(jobs).values(job_name="late"))
        done.append("written")

    writer = threading.Thread(target=write)

    def report(table: str, _rows: int) -> None:
        if table == "jobs":
            writer.start()
            writer.join(0.3)
        done.append(table)

    copying.copy_all(source, target, quiet=QUIET, report=report)
    writer.join(30)
    other.close()
    assert done[-1] == "written"
    assert "late" not in str(everything(target)["jobs"])


def test_a_source_in_use_is_refused_and_the_target_stays_empty(
    db: Database, make_empty: MakeEmpty
) -> None:
    target = make_empty("sqlite")
    fill(db, 5)
    with db.read() as conn:
        now = clock(conn)
    soon = now + timedelta(seconds=60)
    for table, values, said in (
        (links, {"lease_until": soon}, "a worker is pushing 5 jobs: stop every"),
        (locks_table, {"until": soon}, "somebody holds the lock for "),
        (runs, {"state": "running", "touched_at": now}, "run 1 is at work: let it end"),
    ):
        with db.begin() as conn:
            before = conn.execute(select(*(table.c[name] for name in values))).first()
            conn.execute(update(table).values(values))
        with pytest.raises(UsageError, match=said):
            copying.copy_all(db, target, quiet=QUIET, report=silent)
        with db.begin() as conn:
            assert before is not None
            conn.execute(update(table).values(dict(zip(values, before, strict=True))))
    with target.read() as conn:
        copying.raise_if_filled(conn)
    copying.copy_all(db, target, quiet=QUIET, report=silent)


def test_what_the_target_does_not_take_is_named_and_nothing_is_kept(
    db: Database, make_empty: MakeEmpty
) -> None:
    target = make_empty("CPR_TEST_POSTGRES_URL")
    fill(db, 5)
    with db.begin() as conn:  # SQLite takes any length
        conn.execute(update(jobs).where(jobs.c.job_id == 5).values(zip="9" * 300))
    with pytest.raises(CprqueueError, match="table jobs cannot be copied: value too long"):
        copying.copy_all(db, target, quiet=QUIET, report=silent)
    with target.read() as conn:
        copying.raise_if_filled(conn)
