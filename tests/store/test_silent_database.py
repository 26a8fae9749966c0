"""A database whose connections stay open and fall silent: no wait for it is endless."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import engines, limited_psycopg, odbc_waits, schema
from cprqueue.store.database import Database
from tests.other_servers import new_database
from tests.silent_proxy import Proxy, proxy_to


def test_a_silent_connection_is_given_up_and_a_new_one_works(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_psycopg, "FIRST_ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(limited_psycopg, "ANSWER_SECONDS", 0.8)
    parsed = make_url(postgres_url)
    assert parsed.port
    with proxy_to(parsed.port) as way:
        db = Database(parsed.set(port=way.port).render_as_string(hide_password=False))

        def ask(silent: bool) -> int:
            with db.begin() as conn:
                if silent:
                    way.fall_silent()
                    way.recover()  # the connections of before stay silent
                return int(conn.execute(text("SELECT 7")).scalar_one())

        assert ask(silent=False) == 7
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.8 s"):
            ask(silent=True)
        assert ask(silent=False) == 7
        way.fall_silent()
        way.recover()
        assert ask(silent=False) == 7, "what lay idle is found silent before it is used"
        db.close()


MARIADB = ("mysql", "pyodbc")


def seconds_of(ask: object, way: Proxy) -> float:
    """Return how long an answer is waited for that does not come; the test never hangs."""
    assert callable(ask)
    end = threading.Timer(8, way.close)
    end.start()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="Lost connection"):
        ask()
    end.cancel()
    return time.monotonic() - began


def quick_login(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = engines._ARGUMENTS[MARIADB]
    quick = {name: "1" if "CONN" in name else value for name, value in ours.items()}
    monkeypatch.setattr(engines, "_ARGUMENTS", {**engines._ARGUMENTS, MARIADB: quick})


def test_mariadb_too_is_waited_for_neither_at_log_in_nor_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = engines._ARGUMENTS[MARIADB]
    quick = {name: "1" if "TIMEOUT" in name else value for name, value in ours.items()}
    monkeypatch.setattr(engines, "_ARGUMENTS", {**engines._ARGUMENTS, MARIADB: quick})
    with new_database("CPR_TEST_MARIADB_URL") as url:
        parsed = make_url(url)
        with proxy_to(int(str(parsed.query["port"]))) as way:
            there = parsed.update_query_dict({"port": str(way.port)})
            db = Database(there.render_as_string(hide_password=False))

            def ask() -> None:
                with db.begin() as conn:
                    way.fall_silent()
                    conn.execute(text("SELECT 7"))

            assert seconds_of(ask, way) < 5, "an answer"
            assert seconds_of(ask, way) < 5, "a log-in"
            db.close()


@pytest.fixture
def mariadb(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, Database]]:
    """A way to MariaDB, and a database behind it with three idle connections."""
    quick_login(monkeypatch)
    with new_database("CPR_TEST_MARIADB_URL") as url:
        parsed = make_url(url)
        with proxy_to(int(str(parsed.query["port"]))) as way:
            there = parsed.update_query_dict({"port": str(way.port)})
            db = Database(there.render_as_string(hide_password=False))
            for conn in [db.engine.connect() for _ in range(engines.POOL)]:
                conn.close()
            for name in odbc_waits.LIMITS:
                monkeypatch.setitem(odbc_waits.LIMITS, name, 0.8)
            yield way, db
            db.close()


def seven(db: Database) -> int:
    with db.begin() as conn:
        return int(conn.execute(text("SELECT 7")).scalar_one())


def test_odbc_gives_up_a_silent_connection_once_and_its_neighbours_at_once(
    mariadb: tuple[Proxy, Database],
) -> None:
    way, db = mariadb
    way.fall_silent()
    way.recover()  # the three of before stay silent
    began = time.monotonic()
    assert [seven(db) for _ in range(4)] == [7] * 4
    assert time.monotonic() - began < 5, "a ping's limit, and no wait to close any"


def test_odbc_neither_waits_in_mid_work_nor_to_close(mariadb: tuple[Proxy, Database]) -> None:
    way, db = mariadb

    def ask() -> None:
        with db.begin() as conn:
            way.fall_silent()
            conn.execute(text("SELECT 7"))

    assert seconds_of(ask, way) < 5
    way.recover()
    assert seven(db) == 7
    way.fall_silent()
    began = time.monotonic()
    db.close()
    assert time.monotonic() - began < 5


def test_tables_are_not_waited_for_where_the_database_is_silent(
    mariadb: tuple[Proxy, Database],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    way, db = mariadb
    monkeypatch.setattr(schema, "SILENT_SECONDS", 0.3)
    way.fall_silent()
    with (
        caplog.at_level(logging.WARNING, logger=schema.__name__),
        pytest.raises(DatabaseUnavailable),
    ):
        schema.upgrade(db)
    assert [said.rpartition(": ")[2].partition("; ")[2] for said in caplog.messages] == [
        "trying again",
        "trying again",
    ]


def test_a_forked_process_that_ends_closes_no_connection_of_its_parent(
    mariadb: tuple[Proxy, Database],
) -> None:
    _way, db = mariadb

    def connections() -> set[object]:
        """Return the server's numbers for all that lie idle: they are handed out in turn."""
        found = set()
        for _ in range(engines.POOL):
            with db.read() as conn:
                found.add(conn.execute(text("SELECT CONNECTION_ID()")).scalar())
        return found

    before = connections()
    child = os.fork()
    if child == 0:
        odbc_waits._close_all()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert connections() == before


class Driver:
    """A connection of a driver that waits for ever; ``ping`` has its answer or its end."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))


def test_any_driver_that_waits_in_a_socket_of_this_process_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(odbc_waits.LIMITS, "do_ping", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sockets = odbc_waits._Sockets(make_url(f"mssql+pyodbc://u:p@127.0.0.1:{port}/d"))
        ping = sockets.limited("do_ping", lambda driver: driver.socket.recv(1))
        driver = sockets.connect(lambda: Driver(port))
        with driver.socket:
            assert ping(driver) == b"", "shut down"


def test_sql_server_s_engine_has_these_limits() -> None:
    engine = engines.make("mssql+pyodbc://u:p@127.0.0.1/d?driver=any", durable=False)
    assert engine in odbc_waits._limited
    assert set(odbc_waits.LIMITS) <= set(vars(engine.dialect))


@pytest.mark.parametrize("server", ["CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL"])
def test_the_server_itself_ends_what_a_silent_connection_has_locked(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_ON_BEGIN", "_ON_CONNECT"):
        monkeypatch.setattr(engines, name, {
            family: re.sub(r"(idle_\w+(?:', '| = ))30", r"\g<1>1", statement)
            for family, statement in getattr(engines, name).items()
        })  # fmt: skip
    with new_database(server) as url:
        db = Database(url)
        with db.begin() as conn:
            conn.execute(text("CREATE TABLE kept (n INTEGER PRIMARY KEY)"))
            conn.execute(text("INSERT INTO kept VALUES (1)"))

        def hold() -> None:
            with db.begin() as silent:
                silent.execute(text("UPDATE kept SET n = 2"))
                with db.begin() as conn:
                    conn.execute(text("UPDATE kept SET n = 3"))
                silent.execute(text("SELECT 7"))

        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            hold()
        assert time.monotonic() - began < 20, "a lock is waited for 30 s"
        db.close()
