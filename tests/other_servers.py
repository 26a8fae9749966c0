"""Servers that a test can only use where somebody started them; ``.ci/run`` does."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

SERVERS = ("CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL")


def url_of(variable: str) -> str:
    """Return the server's URL; skip the test where there is none, but never in our CI."""
    url = os.environ.get(variable, "")
    if not url and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{variable} is not set: CI runs these tests through .ci/run")
    if not url:
        pytest.skip(f"{variable} is not set: .ci/run starts a server and sets it")
    return url


@contextmanager
def new_database(variable: str) -> Iterator[str]:
    """Make an empty database on the server that ``variable`` names; drop it afterwards."""
    server = make_url(url_of(variable))
    name = f"cpr_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    force = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name}{force}"))
    admin.dispose()
