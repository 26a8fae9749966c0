"""The tables, the migration that builds them, and SQLite under many writers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, update
from sqlalchemy.exc import IntegrityError, StatementError

from cprqueue.errors import ServiceUnreachable, SettingsError, UsageError
from cprqueue.store import locks, schema, tables
from cprqueue.store.database import Database, clock
from cprqueue.store.views import VIEWS


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'below' / 'test.db'}"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = Database(url)
    schema.upgrade(database)
    yield database
    database.close()


def test_an_empty_database_says_that_it_is_empty(url: str) -> None:
    empty = Database(url)
    with pytest.raises(UsageError, match="start `cprqueue up` once"):
        schema.require_current(empty)
    empty.close()


def test_upgrade_builds_everything_and_may_be_repeated(db: Database) -> None:
    schema.require_current(db)
    schema.upgrade(db)
    found = inspect(db.engine)
    assert set(tables.metadata.tables) <= set(found.get_table_names())
    assert set(found.get_view_names()) == {"active_jobs", "qbt_current"}
    with db.read() as conn:
        for view in VIEWS:
            assert conn.exec_driver_sql(f"SELECT * FROM {view}").all() == []  # noqa: S608


def test_the_migration_builds_exactly_what_the_tables_say(db: Database) -> None:
    with db.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), tables.metadata) == []


def test_every_migration_has_a_way_back(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(db)
    with db.begin() as conn:
        settings = schema.config_for_alembic()
        settings.attributes["connection"] = conn
        command.downgrade(settings, "0001")
    assert schema.revision(db) == "0001"
    schema.upgrade(db)
    schema.require_current(db)
    db.close()


def test_the_head_that_every_command_compares_with_is_the_newest_script() -> None:
    scripts = ScriptDirectory.from_config(schema.config_for_alembic())
    assert scripts.get_current_head() == schema.HEAD


def test_two_hosts_may_upgrade_at_once(url: str) -> None:
    failed: list[BaseException] = []

    def upgrade() -> None:
        own = Database(url)
        try:
            schema.upgrade(own)
        except BaseException as error:  # noqa: BLE001  (told by the assertion below)
            failed.append(error)
        own.close()

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    db = Database(url)
    schema.require_current(db)
    db.close()


def test_sqlite_keeps_a_log_so_that_readers_and_a_writer_do_not_meet(db: Database) -> None:
    with db.begin() as writing, db.read() as reading:
        writing.execute(insert(tables.call_slots), {"slot_id": 1})
        assert reading.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert reading.execute(select(tables.call_slots)).all() == []


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
def test_a_durable_database_waits_for_the_disk(url: str, durable: bool, level: int) -> None:
    db = Database(url, durable=durable)
    with db.read() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == level
    db.close()


def test_busy_writers_wait_for_each_other_and_lose_nothing(db: Database, url: str) -> None:
    with db.begin() as conn:
        conn.execute(insert(tables.call_slots), {"slot_id": 1, "uses": 0})

    def count() -> None:
        own = Database(url)
        for _ in range(50):
            with own.begin() as conn:
                uses = conn.execute(select(tables.call_slots.c.uses)).scalar_one()
                conn.execute(update(tables.call_slots).values(uses=uses + 1))
        own.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as conn:
        assert conn.execute(select(tables.call_slots.c.uses)).scalar_one() == 200


def test_an_error_takes_the_whole_transaction_back(db: Database) -> None:
    twice = [{"slot_id": 1}, {"slot_id": 1}]
    with pytest.raises(IntegrityError), db.begin() as conn:
        conn.execute(insert(tables.call_slots), twice)
    with db.read() as conn:
        assert conn.execute(select(tables.call_slots)).all() == []


def test_a_naive_time_is_refused_and_any_zone_comes_back_as_utc(db: Database) -> None:
    moment = datetime(2026, 3, 1, 5, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-7)))
    row = {"name": "x", "updated_at": moment}
    naive = {"name": "y", "updated_at": moment.replace(tzinfo=None)}
    with db.begin() as conn:
        conn.execute(insert(tables.state), row)
        found = conn.execute(select(tables.state.c.updated_at)).scalar_one()
    assert found == moment
    assert found.tzinfo is UTC
    with pytest.raises(StatementError, match="naive datetime"), db.begin() as conn:
        conn.execute(insert(tables.state), naive)


def test_the_databases_clock_is_the_real_time(db: Database) -> None:
    before = time.time()
    with db.read() as conn:
        found = clock(conn).timestamp()
    assert before - 0.01 <= found <= time.time() + 0.01


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no database URL"),
        ("nothing://u:secret@h/d", "driver"),
        ("oracle+cx_oracle://u:secret@h/d", "driver"),
    ],
)
def test_a_url_that_cannot_be_is_one_line_without_the_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Database(url)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_database_that_cannot_be_opened_is_unreachable(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}")
    with pytest.raises(ServiceUnreachable, match=r"check DATABASE_URL"), db.begin():
        pass
    db.close()


def test_a_lock_is_for_one_until_its_time_is_up(db: Database) -> None:
    limit = timedelta(seconds=10)
    with db.begin() as conn:
        now = clock(conn)

        def take(holder: str, seconds: float = 0) -> bool:
            at = now + timedelta(seconds=seconds)
            return locks.take(conn, locks.FETCH, holder, now=at, limit=limit)

        assert take("a")
        assert take("a", 5), "the holder prolongs it"
        assert not take("b", 11)
        assert take("b", 16), "a dead holder keeps it no longer"
        locks.release(conn, locks.FETCH, "a")
        assert not take("a", 17), "only the holder gives it back"
        locks.release(conn, locks.FETCH, "b")
        assert take("a", 17)
