"""PostgreSQL databases that were made in another encoding than UTF-8: as Windows makes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from cprqueue import config
from cprqueue.domain.recording import REFUSED
from cprqueue.services.fetch.job_files import Import
from cprqueue.settings.others import WHICH_DATABASE
from cprqueue.store import jobs, schema
from cprqueue.store.database import Database
from tests.office import MakeOffice, Office, job, written

PLAIN, FOREIGN = job(1, "Ñ-1", jobName="Müller"), job(2, "B-2", jobName="Łódź 東京 🏠")


@pytest.fixture
def encoded(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """A new database in the encoding that is asked for, dropped afterwards."""
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    name = f"{make_url(postgres_url).database}_encoded"
    how = f"ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name} {how}"))
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def name_of(office: Office, job_id: int) -> str:
    with office.app.db.read() as conn:
        found = jobs.get(conn, job_id)
    assert found is not None
    return str(found.job_name)


@pytest.mark.parametrize("encoded", ["SQL_ASCII"], indirect=True)
def test_one_without_any_encoding_holds_every_name(encoded: str, make_office: MakeOffice) -> None:
    office = make_office(DATABASE_URL=encoded)
    office.record([PLAIN, FOREIGN])
    assert [name_of(office, number) for number in (1, 2)] == ["Müller", "Łódź 東京 🏠"]


@pytest.mark.parametrize("encoded", ["WIN1252"], indirect=True)
def test_a_name_that_it_cannot_hold_keeps_no_other_job_out_of_an_import(
    encoded: str, make_office: MakeOffice, tmp_path: Path
) -> None:
    office = make_office(DATABASE_URL=encoded)
    path = written(tmp_path, json.dumps([FOREIGN, PLAIN]))
    work = Import(office.app.db, office.app.rules, office.app.push_limits)
    done = work.run(path, work.open(path), recorded=lambda _: None)
    assert (done.new, done.unreadable) == (1, 1)
    assert name_of(office, 1) == "Müller"
    assert office.row(2).rule == REFUSED


def test_no_variable_of_its_library_makes_another_database_of_the_url(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in WHICH_DATABASE:
        monkeypatch.setenv(name, "nowhere")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=pg_temp")
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    monkeypatch.setenv("PGSSLMODE", "prefer")
    settings = config.load()
    assert os.environ["PGSSLMODE"] == "prefer"
    assert config.for_programs(dict.fromkeys(WHICH_DATABASE, "x")) == {}
    made = Database(settings.database_url)
    schema.upgrade(made)
    with made.begin() as conn:
        assert conn.execute(text("SHOW client_encoding")).scalar() == "UTF8"
        assert conn.execute(text("SHOW search_path")).scalar() != "pg_temp"
    made.close()
