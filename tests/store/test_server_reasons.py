"""A database server that refuses to write, or gives up, is told apart from one that is away."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from cprqueue.errors import DatabaseUnavailable
from cprqueue.operating.checking import parts
from cprqueue.services.reports.checkup import Checkup
from cprqueue.store.database import Database
from tests.office import MakeOffice


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
