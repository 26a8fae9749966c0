"""Small named values: rows made by their first use, by many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection

from cprqueue.store import app_state, schema
from cprqueue.store.database import Database, clock

WRITERS = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{request.getfixturevalue('tmp_path') / 'cpr.db'}"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url)
    schema.upgrade(made)
    yield made
    made.close()


def at_once(db: Database, use: Callable[[Connection], bool]) -> list[bool]:
    """Let many use a name for the first time, each in a transaction, all in the same moment."""
    gate = threading.Barrier(WRITERS)

    def work() -> bool:
        with db.read() as conn:  # connected before the moment comes
            clock(conn)
        gate.wait()
        with db.begin() as conn:
            used = use(conn)
            clock(conn)  # the transaction is still good
            return used

    with ThreadPoolExecutor(WRITERS) as pool:
        return [each.result() for each in [pool.submit(work) for _ in range(WRITERS)]]


def test_of_many_first_claims_of_a_moment_one_gets_it(db: Database) -> None:
    with db.read() as conn:
        now = clock(conn)
    later = now + timedelta(minutes=1)
    for turn in range(5):
        claim = partial(app_state.claim_moment, name=f"wake {turn}", now=now, moment=later)
        assert at_once(db, claim).count(True) == 1


def test_of_many_first_writes_of_a_value_all_succeed_and_one_stands(db: Database) -> None:
    def put(conn: Connection) -> bool:
        app_state.put(conn, "value", {"by": threading.get_ident()}, now=clock(conn))
        return True

    assert all(at_once(db, put))
    with db.read() as conn:
        assert isinstance(app_state.get(conn, "value"), dict)


def test_of_many_first_values_one_is_stored(db: Database) -> None:
    def put_first(conn: Connection) -> bool:
        return app_state.put_first(conn, "pair", threading.get_ident(), now=clock(conn))

    assert at_once(db, put_first).count(True) == 1
