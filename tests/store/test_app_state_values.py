"""Named values, and moments that one of many callers may claim."""

from __future__ import annotations

from datetime import timedelta

from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

SECOND = timedelta(seconds=1)


def test_a_named_value_is_stored_replaced_and_forgotten(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        assert app_state.get(conn, "x") is None
        app_state.put(conn, "x", {"n": [1, "ä"]}, now=now)
        app_state.put(conn, "y", 5, now=now)
        assert app_state.get(conn, "x") == {"n": [1, "ä"]}
        app_state.put(conn, "x", 6, now=now)
        assert (app_state.get(conn, "x"), app_state.get(conn, "y")) == (6, 5)
        assert app_state.drop(conn, "x")
        assert not app_state.drop(conn, "x")
        assert (app_state.get(conn, "x"), app_state.get(conn, "y")) == (None, 5)


def test_a_value_is_put_first_once_and_swapped_only_where_it_is_as_expected(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        assert app_state.put_first(conn, "x", {"n": 1}, now=now)
        assert not app_state.put_first(conn, "x", {"n": 2}, now=now)
        assert not app_state.swap(conn, "x", {"n": 2}, {"n": 3}, now=now)
        assert not app_state.swap(conn, "y", {"n": 1}, {"n": 3}, now=now)
        assert app_state.swap(conn, "x", {"n": 1}, {"n": 3}, now=now)
        assert (app_state.get(conn, "x"), app_state.get(conn, "y")) == ({"n": 3}, None)


def test_of_many_callers_the_first_has_the_moment_until_it_has_passed(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        moment = now + 10 * SECOND
        assert app_state.claim_moment(conn, "x", now=now, moment=moment)
        assert not app_state.claim_moment(conn, "x", now=now, moment=moment)
        assert not app_state.claim_moment(conn, "x", now=now + SECOND, moment=moment + SECOND)
        assert app_state.claim_moment(conn, "y", now=now, moment=moment), "another moment"
        assert app_state.claim_moment(conn, "x", now=moment, moment=moment + SECOND), "it has come"
        assert not app_state.claim_moment(conn, "x", now=moment, moment=moment + SECOND)


def test_whoever_names_an_earlier_moment_has_it(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        assert app_state.claim_moment(conn, "x", now=now, moment=now + 10 * SECOND)
        assert app_state.claim_moment(conn, "x", now=now, moment=now + 5 * SECOND)
        assert not app_state.claim_moment(conn, "x", now=now, moment=now + 5 * SECOND)


def test_a_claimed_moment_is_no_value(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        app_state.claim_moment(conn, "x", now=now, moment=now + SECOND)
        assert app_state.get(conn, "x") is None
