"""A database whose connections stay open and fall silent: no wait for it is endless."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import engines, limited_psycopg
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
