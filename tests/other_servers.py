"""Servers that a test can only use where somebody started them; ``.ci/run`` does.

But for SQL Server, which cannot be had there: ``make test-mssql`` names one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from cprqueue.store.tables import metadata
from cprqueue.store.views import VIEWS

MSSQL = "CPR_TEST_MSSQL_URL"
STARTED = ("CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL")
"""Those that ``.ci/run`` starts."""
SERVERS = (*STARTED, MSSQL)
DATABASES = ("sqlite", *SERVERS)


def url_of(variable: str) -> str:
    """Return the server's URL; skip the test where there is none, but never in our CI."""
    url = os.environ.get(variable, "")
    if not url and variable == MSSQL:
        pytest.skip(f"{MSSQL} is not set: make test-mssql {MSSQL}=... names a SQL Server")
    if not url and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{variable} is not set: CI runs these tests through .ci/run")
    if not url:
        pytest.skip(f"{variable} is not set: .ci/run starts a server and sets it")
    return url


@contextmanager
def new_database(variable: str, directory: Path | None = None) -> Iterator[str]:
    """Make an empty database on the server that ``variable`` names; drop it afterwards.

    ``sqlite`` is a file in ``directory``. On SQL Server it is the one that the URL names, which
    is emptied before: its name must hold the word "test".
    """
    if variable == "sqlite":
        assert directory is not None
        yield f"sqlite:///{directory / 'new.db'}"
        return
    server = make_url(url_of(variable))
    if server.get_backend_name() == "mssql":
        _empty(server)
        yield server.render_as_string(hide_password=False)
        return
    name = f"cpr_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    force = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name}{force}"))
    admin.dispose()


def _empty(url: URL) -> None:
    """Drop our views and tables by name: neither a new database nor a catalogue is needed."""
    if "test" not in (url.database or "").lower():
        pytest.fail(f"{MSSQL} names the database {url.database}: its tables would be dropped, "
                    "so its name must hold the word test")  # fmt: skip
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    quote = admin.dialect.identifier_preparer.quote
    with admin.connect() as conn:
        for kind, names in (("VIEW", VIEWS), ("TABLE", [*metadata.tables, "alembic_version"])):
            for name in names:
                try:
                    conn.exec_driver_sql(f"DROP {kind} {quote(name)}")
                except DBAPIError as error:
                    if "3701" not in str(error.orig) and "42S02" not in str(error.orig):
                        raise  # it was not merely missing
    admin.dispose()
