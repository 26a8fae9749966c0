"""What only SQL Server is sent, read before it leaves: the driver is one that only takes it down.

It is pyodbc's place that is taken, below SQLAlchemy: everything above is the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyodbc
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DataError, IntegrityError

from cprqueue.domain.models import Observed
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import clock_steps, copying, events, links, runs, traits
from cprqueue.store.chunks import MOST_PARAMETERS
from cprqueue.store.database import Database, first_line
from cprqueue.store.moved_by import moved_by
from cprqueue.store.tables import links as links_table
from cprqueue.store.tables import metadata
from cprqueue.store.tables import runs as runs_table
from tests.tsql.grammar import faults

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Taker:
    """A connection and its cursor in one, which answers what SQLAlchemy must know."""

    autocommit, rowcount, arraysize, timeout = False, 1, 1, 0

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[Any, ...]]] = []
        self.fails: list[Exception] = []
        self.rows: list[tuple[Any, ...]] = []
        self.description: object = None

    def cursor(self) -> Taker:
        """Serve as one."""
        return self

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> None:
        """Take it down; answer the questions of a first connection, and 1 to any other."""
        self.sent.append((statement, tuple(parameters)))
        asks = statement.lstrip().startswith("SELECT")
        if self.fails and not asks:
            raise self.fails.pop()
        answers = {
            "ProductVersion": "16.0.1",
            "schema_name": "dbo",
            "isolation": "READ COMMITTED",
            "updated_at": NOW.replace(tzinfo=None),
        }
        found = [answer for word, answer in answers.items() if word in statement]
        self.rows = [(found[0] if found else 1,)] if asks else list[tuple[Any, ...]]()
        self.description = (("x", *[None] * 6),) if asks else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Give the answer once."""
        rows, self.rows = self.rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Give the answer once."""
        return next(iter(self.fetchall()), None)

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_options: None


@pytest.fixture
def taker(monkeypatch: pytest.MonkeyPatch) -> Taker:
    made = Taker()
    monkeypatch.setattr(pyodbc, "connect", lambda *_args, **_options: made)
    return made


@pytest.fixture
def server(taker: Taker) -> Iterator[Database]:
    made = Database("mssql+pyodbc://u:hush@h/d?driver=ODBC+Driver+18+for+SQL+Server")
    with made.read():
        pass
    assert [(s, faults(s)) for s, _ in taker.sent if s.startswith("SET ") and faults(s)] == []
    yield made
    made.close()


def test_a_connection_does_not_rely_on_the_settings_of_server_and_driver(
    taker: Taker, server: Database
) -> None:
    assert server.engine.dialect.name == "mssql"
    [settings] = [s for s, _ in taker.sent if "LOCK_TIMEOUT" in s]
    for needed in ("QUOTED_IDENTIFIER ON", "NOCOUNT OFF", "XACT_ABORT", "LOCK_TIMEOUT 30000"):
        assert needed in settings


def test_times_keep_their_microseconds_whatever_the_driver_makes_of_a_datetime(
    taker: Taker, server: Database
) -> None:
    with server.begin() as conn:
        runs.create(conn, RunKind.FETCH, now=NOW, key="one", state=RunState.RECORDING)
    [values] = [values for statement, values in taker.sent if "INTO runs" in statement]
    assert "2026-01-02 03:04:05.678901" in values
    assert not any(isinstance(value, datetime) for value in values)


def test_a_step_of_the_clock_moves_moments_by_milliseconds_too(
    taker: Taker, server: Database
) -> None:
    column = links_table.c.lease_until
    with server.begin() as conn:
        clock_steps._update(conn, links_table, column, moved_by(column, -1500), column.is_not(None))
    statement, values = taker.sent[-1]
    assert "millisecond, CAST(? % 1000 AS INT)" in statement
    assert (values, faults(statement.replace("?", "@p"))) == ((-1500, -1500), [])


def test_no_statement_is_refused_on_a_table_with_a_trigger(taker: Taker, server: Database) -> None:
    with server.begin() as conn:
        runs.create(conn, RunKind.FETCH, now=NOW)
        events.add(conn, [events.event(1, "pushed", "x", at=NOW)])
        links.mark_unverified(conn, Observed(jobcode_id=1), but=1, now=NOW)
    written = [statement for statement, _ in taker.sent if "INSERT" in statement]
    assert len(written) == 2
    assert "OUTPUT" not in "".join(written)


def test_many_rows_go_in_statements_within_the_limit(taker: Taker, server: Database) -> None:
    many = [events.event(n, "pushed", "x", at=NOW) for n in range(1500)]
    with server.begin() as conn:
        events.add(conn, many)
    sent = [len(values) for statement, values in taker.sent if "INTO events" in statement]
    assert sum(sent) == 5 * len(many)
    assert max(sent) <= MOST_PARAMETERS


def test_a_copy_keeps_the_numbers_of_rows(taker: Taker, server: Database) -> None:
    row = dict.fromkeys((column.key for column in runs_table.columns), None)
    given = [tuple({**row, "run_id": n, "key": str(n)}.values()) for n in (7, 9)]
    with server.begin() as conn, copying._locked(conn):
        copying._insert(conn, runs_table, given)  # type: ignore[arg-type]
    locked = [s for s, _ in taker.sent if "TABLOCK, HOLDLOCK" in s]
    assert len(locked) == len(metadata.tables)
    assert [faults(statement) for statement in locked] == [[]] * len(locked)
    on, insertion, off = (statement for statement, _ in taker.sent[-3:])
    assert (on, off) == ("SET IDENTITY_INSERT runs ON", "SET IDENTITY_INSERT runs OFF")
    assert insertion.startswith("INSERT INTO runs (run_id, [key]")


def test_what_check_asks_is_t_sql(taker: Taker, server: Database) -> None:
    taker.sent.clear()
    found = traits.read(server)
    assert (found.snapshot_reads, found.counts_rows, found.keeps_fractions) == (True, True, True)
    asked = [statement.replace("?", "@p") for statement, _ in taker.sent]
    assert [(statement, faults(statement)) for statement in asked if faults(statement)] == []


def test_an_error_shows_nothing_of_what_was_to_be_written(taker: Taker, server: Database) -> None:
    said = (
        "[22001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]String or binary data "
        "would be truncated in table 'd.dbo.jobs', column 'addr1'. Truncated value: "
        "'12 O'Brien' (x). Street'. (2628) (SQLExecDirectW); [22001] terminated. (3621)"
    )
    taker.fails = [pyodbc.DataError("22001", said)]
    with pytest.raises(DataError) as caught, server.begin() as conn:
        conn.execute(insert(links_table), {"job_id": 1, "state": "due"})
    assert "Brien" not in str(caught.value) + repr(caught.value.orig) + first_line(caught.value)
    assert "Truncated value: ..." in first_line(caught.value)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("HYT00", "Login timeout expired (0) (SQLDriverConnect)"),
        ("08001", "TCP Provider: Error code 0x2AF9 (11001) (SQLDriverConnect)"),
        ("28000", "Login failed for user 'u'. (18456) (SQLDriverConnect)"),
        ("42000", 'Cannot open database "d" requested. (4060) (SQLDriverConnect)'),
    ],
)
def test_a_login_that_fails_is_the_servers_matter_not_another_transactions(
    monkeypatch: pytest.MonkeyPatch, state: str, words: str
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise pyodbc.Error(state, f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server]{words}")

    monkeypatch.setattr(pyodbc, "connect", refuse)
    made = Database("mssql+pyodbc://u:hush@h/d?driver=ODBC+Driver+18+for+SQL+Server")
    with pytest.raises(DatabaseUnavailable, match="check DATABASE_URL") as caught, made.begin():
        pass
    assert "hush" not in str(caught.value)
    made.close()


def test_a_statement_that_waits_too_long_is_another_transactions_matter(
    taker: Taker, server: Database
) -> None:
    lines = []
    for state, words in (
        ("HYT00", "Query timeout expired (0) (SQLExecDirectW)"),
        ("HYT00", "Lock request time out period exceeded. (1222) (SQLExecDirectW)"),
        ("40001", "was deadlocked on lock resources (1205) (SQLExecDirectW)"),
    ):
        taker.fails = [pyodbc.Error(state, f"[{state}] [Microsoft]{words}")]
        with pytest.raises(DatabaseUnavailable) as caught, server.begin() as conn:
            conn.execute(links_table.update().values(lease_until=NOW + timedelta(1)))
        lines.append(str(caught.value))
    assert {line.rsplit(": ", 2)[1] for line in lines} == {"another transaction was in the way"}


def test_postgresqls_errors_show_nothing_of_it_either(postgres_url: str) -> None:
    made = Database(postgres_url)
    with made.begin() as conn:
        links_table.create(conn)
    with pytest.raises(IntegrityError) as caught, made.begin() as conn:
        conn.execute(
            text("INSERT INTO links (job_id, held) VALUES (1, :a)"), {"a": "12 Main Street"}
        )
    made.close()
    assert "Main" not in str(caught.value) + str(caught.value.orig)
    assert "Failing row contains ..." in str(caught.value)
