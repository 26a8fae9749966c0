"""A database whose connections stay open and fall silent: no wait for it is endless."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from cprqueue.errors import DatabaseUnavailable
from cprqueue.store import limited_psycopg
from cprqueue.store.database import Database
from tests.silent_proxy import proxy_to


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
