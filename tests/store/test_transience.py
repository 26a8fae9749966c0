"""Which errors pass by themselves, by their codes alone and on real servers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator

import psycopg
import pyodbc
import pytest
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import tables
from cprqueue.store.database import Database
from cprqueue.store.transience import Code, Trouble, codes_of, trouble
from tests.other_servers import STARTED, new_database
from tests.own_servers import close_connections

LOST, CLASH = Trouble.LOST, Trouble.CLASH


@pytest.mark.parametrize(
    ("dialect", "natives", "kind"),
    [
        ("mssql", (1205, 1222, 3960, 1204, 3930), CLASH),
        ("mssql", (40197, 40501, 40613, *range(49918, 49921), 10928, 10929), LOST),
        ("mssql", (10053, 10054, 10060, 596, 20004, 20017), LOST),
        ("mssql", (921, 922, 927, 976, 978, 983, 3906, 4060, 18401), LOST),
        ("mariadb", (1205, 1213), CLASH),
        ("mysql", (2006, 2013, 1927, 4031, 1040), LOST),
        ("mssql", (0, 102, 208, 2627, 2628, 8152, 1213, 2006), None),
        ("mariadb", (0, 1062, 1064, 1146, 1406), None),
        ("sqlite", (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), CLASH),
        ("sqlite", (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, 1205), None),
    ],
)
def test_a_native_number_decides(
    dialect: str, natives: tuple[int, ...], kind: Trouble | None
) -> None:
    assert {trouble(dialect, [Code("HY000", native)]) for native in natives} == {kind}


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        (("40001", "40P01", "55P03", "57014", "HYT00"), CLASH),
        (("40003", "08000", "08S01", "08003", "57P01", "57P03", "53300", "HYT01"), LOST),
        (("23505", "22001", "42601", "42P01", "28P01", "HY000", ""), None),
    ],
)
@pytest.mark.parametrize("dialect", ["postgresql", "mssql", "mariadb"])
def test_a_sqlstate_decides(dialect: str, states: tuple[str, ...], kind: Trouble | None) -> None:
    assert {trouble(dialect, [Code(state, 0)]) for state in states} == {kind}


def test_codes_are_found_in_the_errors_of_every_driver() -> None:
    deadlock = "[40001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]was deadlocked (1205)"
    both = f"{deadlock} (SQLExecDirectW); [08S01] [Microsoft]link (7) failed (10054)"
    assert codes_of(pyodbc.Error("40001", both)) == [Code("40001", 1205), Code("40001", 10054)]
    assert trouble("mssql", codes_of(pyodbc.Error("40001", both))) is LOST
    cut = "[HY000] [ma-3.1.15]Write error: Connection reset by peer (104) (5014) (SQLExecDirectW)"
    assert codes_of(pyodbc.Error("HY000", cut)) == [Code("HY000", 5014)]
    assert codes_of(pyodbc.Error("HY000", "no number")) == [Code("HY000", 0)]
    assert codes_of(psycopg.errors.DeadlockDetected("x")) == [Code("40P01", 0)]
    assert codes_of(psycopg.OperationalError("the connection is closed")) == [Code("", 0)]
    assert codes_of(RuntimeError()) == [Code("", 0)]
    assert codes_of(RuntimeError(1213, "Deadlock found")) == [Code("", 1213)]


@pytest.fixture(params=STARTED, ids=("postgresql", "mariadb"))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with new_database(request.param) as made:
        yield made


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url)
    with made.begin() as conn:
        tables.call_slots.create(conn)
        conn.execute(insert(tables.call_slots), [{"slot_id": n} for n in (1, 2)])
    yield made
    made.close()


def use(conn: Connection, slot: int) -> None:
    own = update(tables.call_slots).where(tables.call_slots.c.slot_id == slot)
    conn.execute(own.values(uses=tables.call_slots.c.uses + 1))


def uses(db: Database) -> list[int]:
    with db.read() as conn:
        columns = tables.call_slots.c
        return list(conn.execute(select(columns.uses).order_by(columns.slot_id)).scalars())


def test_who_loses_a_deadlock_does_it_again_or_says_so_in_one_line(url: str, db: Database) -> None:
    meeting, told = threading.Barrier(2, timeout=20), list[str]()

    def cross(first: int, second: int, *, again: bool) -> None:
        tries = 0

        def work(conn: Connection) -> None:
            nonlocal tries
            tries += 1
            use(conn, first)
            if tries == 1:
                meeting.wait()
            use(conn, second)

        own = Database(url)
        try:
            if again:
                own.retrying(work)
            else:
                with own.begin() as conn:
                    work(conn)
        except DatabaseUnavailable as error:
            told.append(str(error))
        own.close()

    for again in (True, False):
        pair = [threading.Thread(target=cross, args=w, kwargs={"again": again})
                for w in ((1, 2), (2, 1))]  # fmt: skip
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join(60)
        assert uses(db) == ([2, 2] if again else [3, 3]), told
    [line] = told
    assert line.lower().count("deadlock") == 1
    assert line.endswith(": another transaction was in the way: try again")


def test_a_connection_that_the_server_closed_costs_nothing_until_it_is_used(
    url: str, db: Database
) -> None:
    assert uses(db) == [0, 0]
    assert close_connections(url) == 1
    with db.begin() as conn:
        use(conn, 1)
    with pytest.raises(DatabaseUnavailable, match="check DATABASE_URL"), db.begin() as conn:
        use(conn, close_connections(url))
    tries = 0

    def work(conn: Connection) -> None:
        nonlocal tries
        tries += 1
        use(conn, 2)
        if tries == 1:
            close_connections(url)

    db.retrying(work)
    assert (uses(db), tries) == ([1, 1], 2)


def test_what_the_database_refuses_for_good_is_tried_once(db: Database) -> None:
    tries = 0

    def work(conn: Connection) -> None:
        nonlocal tries
        tries += 1
        conn.exec_driver_sql("SELECT nothing FROM nowhere")

    with pytest.raises(Exception, match="nowhere"):
        db.retrying(work)
    assert tries == 1
    with pytest.raises(IntegrityError), db.begin() as conn:
        conn.execute(insert(tables.call_slots), {"slot_id": 1})
    with db.begin() as conn:
        conn.execute(delete(tables.call_slots))


def test_waits_for_locks_and_statements_are_limited_on_every_server(db: Database) -> None:
    asked = {
        "postgresql": "SHOW lock_timeout",
        "mariadb": "SELECT @@innodb_lock_wait_timeout",
    }
    with db.read() as conn:
        found = conn.exec_driver_sql(asked[db.engine.dialect.name]).scalar_one()
    assert str(found).removesuffix("s") == "30"
