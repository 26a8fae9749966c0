"""A second engine on SQLite's file, in one process, never costs the first one its locks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import engines
from cprqueue.store.database import Database

WRITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("INSERT INTO t VALUES (?)", [sys.argv[2]])
c.commit()
"""


def test_what_another_process_writes_is_seen_though_a_second_engine_was_made(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    first = Database(f"sqlite:///{path}")
    with first.begin() as conn:
        conn.execute(text("CREATE TABLE t (n INTEGER)"))
    second = Database(f"sqlite:///{path}", durable=True)
    for number in (1, 2):
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(number)], check=True)
        with first.read() as conn:
            assert conn.execute(text("SELECT max(n) FROM t")).scalar() == number
    first.close()
    second.close()


def test_a_file_that_another_program_holds_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 1)
    path = tmp_path / "x.db"
    db = Database(f"sqlite:///{path}")
    with db.begin() as conn:
        conn.execute(text("CREATE TABLE t (n INTEGER)"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="another program holds the file"):
        db.retrying(lambda conn: conn.execute(text("INSERT INTO t VALUES (1)")))
    assert time.monotonic() - began < 3, "five times as long"
    other.close()
    db.close()
