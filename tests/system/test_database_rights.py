"""A user of the database who may not make the tables is told so in one line."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from cprqueue.errors import DatabaseUnavailable, SettingsError
from cprqueue.store import schema
from cprqueue.store.database import Database


def test_too_few_connections_are_one_line_that_says_where_to_read(postgres_url: str) -> None:
    role = f"cpr_{uuid.uuid4().hex}"
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1"))
    one, other = (
        Database(make_url(postgres_url).set(username=role).render_as_string()) for _ in range(2)
    )
    with one.read(), pytest.raises(DatabaseUnavailable) as told, other.read():
        pass
    with admin.connect() as conn:
        one.close()
        conn.execute(text(f"DROP ROLE {role}"))
    admin.dispose()
    assert "too many connections for role" in str(told.value)
    assert str(told.value).endswith(": docs/operations.md says how many are needed")


def test_a_role_that_may_not_create_tables_is_one_line(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"cpr_{uuid.uuid4().hex}"
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'"))
        conn.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    url = make_url(postgres_url).set(username=role, password="hush")
    monkeypatch.setattr(schema, "TRIES", 1)
    db = Database(url.render_as_string(hide_password=False))
    with pytest.raises(SettingsError, match="its tables cannot be made: permission denied") as told:
        schema.upgrade(db)
    db.close()
    with admin.connect() as conn:
        conn.execute(text(f"DROP ROLE {role}"))
    admin.dispose()
    assert "give the user of DATABASE_URL the rights" in str(told.value)
    assert "hush" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1
