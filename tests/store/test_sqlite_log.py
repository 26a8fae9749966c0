"""SQLite's write-ahead log stays short while readers come and go, and after one that stayed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cprqueue.services.reports import server_findings
from cprqueue.store.database import Database
from cprqueue.store.sqlite_file import LOG_BYTES, log_bytes
from tests.real_processes import wait_until

MEGABYTE = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{path}")
    with made.begin() as conn:
        conn.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)"))
        conn.execute(text("INSERT INTO t (id) VALUES (1)"))
    write(made, 0)
    yield made
    made.close()


def write(db: Database, number: int) -> None:
    """Write a megabyte in place of the one before."""
    with db.begin() as conn:
        put = text("UPDATE t SET b = :b WHERE id = 1")
        conn.execute(put, {"b": number.to_bytes(2, "big") * (MEGABYTE // 2)})


def test_it_stays_short_though_at_every_moment_somebody_reads(db: Database, path: Path) -> None:
    over, turns = threading.Event(), [threading.Semaphore(1), threading.Semaphore(0)]

    def read(number: int) -> None:
        own = Database(f"sqlite:///{path}")
        while not over.is_set():
            with own.read() as conn:
                conn.execute(text("SELECT count(*) FROM t")).scalar()
                turns[1 - number].release()  # the other begins before this one ends
                turns[number].acquire(timeout=5)
        own.close()

    threads = [threading.Thread(target=read, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    longest = number = 0

    def written() -> bool:
        nonlocal longest, number
        number += 1
        write(db, number)
        longest = max(longest, log_bytes(path))
        return number > 40 and longest > LOG_BYTES > log_bytes(path)

    wait_until(written, timeout_seconds=30)
    over.set()
    for turn in turns:
        turn.release(2)
    for thread in threads:
        thread.join(20)


def test_it_is_short_again_after_a_read_that_did_not_end_and_check_names_that(
    db: Database, path: Path
) -> None:
    other = Database(f"sqlite:///{path}")
    with other.read() as conn:
        before = conn.execute(text("SELECT b FROM t")).scalar_one()
        for number in range(1, 70):
            write(db, number)
        assert log_bytes(path) > 4 * LOG_BYTES
        assert conn.execute(text("SELECT b FROM t")).scalar_one() == before
        [finding] = server_findings.check(db)
        assert (finding.state, "close every other program" in finding.cure) == ("warning", True)
        [warning] = server_findings.log_warnings(db)
        assert "-wal has" in warning
        assert "until it ends the log grows: close every other program" in warning

    def short() -> bool:
        write(db, 0)
        return log_bytes(path) <= LOG_BYTES

    wait_until(short)
    assert list(server_findings.check(db)) == []
    assert server_findings.log_warnings(db) == []
    other.close()
