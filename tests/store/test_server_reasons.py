"""A database server that refuses to write, or gives up, is told apart from one that is away."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from cprqueue.errors import DatabaseUnavailable
from cprqueue.operating.checking import parts
from cprqueue.services.reports.checkup import Checkup
from cprqueue.store import schema
from cprqueue.store.database import Database
from tests.office import MakeOffice
from tests.other_servers import new_database
from tests.own_servers import pooled


def read_only(url: str) -> str:
    return f"{url}?options=-c%20default_transaction_read_only%3Don"


def test_a_server_that_only_reads_is_called_so_and_quickbooks_time_is_not_blamed(
    postgres_url: str, make_office: MakeOffice
) -> None:
    make_office(DATABASE_URL=postgres_url)  # makes the tables
    office = make_office(DATABASE_URL=read_only(postgres_url))
    found = {f.name: f for f in Checkup(office.settings, parts(office.app)).run()}
    assert "a full disk may also have made it read-only" in found["database server"].text
    assert found["QuickBooks Time"].cure == "correct the database first"


def test_a_statement_that_took_too_long_is_not_called_a_clash(postgres_url: str) -> None:
    db = Database(postgres_url)

    def sleep() -> None:
        with db.begin() as conn:
            conn.execute(text("SET LOCAL statement_timeout = 1"))
            conn.execute(text("SELECT pg_sleep(9)"))

    with pytest.raises(DatabaseUnavailable, match="what keeps the server busy"):
        sleep()
    db.close()


def test_a_server_that_refuses_updates_without_a_key_refuses_none_of_ours() -> None:
    with new_database("CPR_TEST_MARIADB_URL") as url:
        db = Database(f"{url}&INITSTMT=SET+SESSION+sql_safe_updates%3D1")
        schema.upgrade(db)  # with an update of whole tables
        db.close()


def test_a_pooler_that_allows_no_transaction_is_told_apart(postgres_url: str) -> None:
    with pooled(postgres_url, connections=1, mode="statement") as url:
        db = Database(url)
        with pytest.raises(DatabaseUnavailable, match="pool_mode to transaction"), db.read():
            pass
        db.close()


def test_postgresqls_kernel_looks_for_a_client_that_is_gone(postgres_url: str) -> None:
    db = Database(postgres_url)
    with db.read() as conn:
        idle, interval = (
            conn.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar()
            for name in ("idle", "interval")
        )
    db.close()
    assert (idle, interval) == ("10", "5")
