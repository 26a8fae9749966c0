"""``cprqueue backup``: a checked copy of SQLite's database, while others write."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from tests.office import Office, job
from tests.running import System


def test_a_backup_is_whole_private_and_taken_while_others_write(
    system: System, office: Office
) -> None:
    office.record(job(n, f"A-{n}") for n in range(1, 301))
    path = system.directory / "copy.db"
    over = threading.Event()

    def write() -> None:
        number = 1000
        while not over.is_set():
            office.record([job(number := number + 1, f"A-{number}")])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = system.run("backup", str(path))
    finally:
        over.set()
        writer.join()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: {path.stat().st_size} bytes, checked\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as copied, copied:
        assert copied.execute("SELECT count(*) FROM active_jobs").fetchone()[0] >= 300
    assert {entry.name for entry in system.directory.iterdir()} == {"var", "copy.db"}


def test_a_file_that_exists_is_left_alone(system: System, office: Office) -> None:
    path = system.directory / "copy.db"
    path.write_text("mine")
    done = system.run("backup", str(path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert path.read_text() == "mine"


def test_a_damaged_database_is_said_and_no_copy_is_left(system: System, office: Office) -> None:
    office.record(job(n, f"A-{n}") for n in range(1, 301))
    office.close()
    database, path = system.var / "cprqueue.db", system.directory / "copy.db"
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    done = system.run("backup", str(path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "tool"),
    [
        ("postgresql+psycopg://u:p@127.0.0.1:1/x", "pg_dump"),
        ("mssql+pyodbc://u:p@127.0.0.1:1/x?driver=x", "SQL Server"),
    ],
)
def test_for_a_server_it_names_the_tool(system: System, url: str, tool: str) -> None:
    done = system.run("backup", "copy.db", DATABASE_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert tool in done.stderr
