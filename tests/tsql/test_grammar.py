"""The checks of every statement find what SQL Server refuses, and the tables are what it takes."""

from __future__ import annotations

import io

import pytest
from alembic import command
from sqlalchemy import bindparam, exists, func, select, text, true
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlfluff.core.dialects import dialect_selector

from cprqueue.store import schema
from cprqueue.store.database import now_ms
from cprqueue.store.tables import jobs, links, metadata, runs
from cprqueue.store.views import VIEWS, CreateView
from tests.tsql.grammar import faults
from tests.tsql.recording import compiled

NAMES = sorted(
    {
        name
        for table in metadata.tables.values()
        for name in (table.name, *(c.name for c in table.c))
    }
    | {str(i.name) for table in metadata.tables.values() for i in table.indexes}
    | {str(c.name) for table in metadata.tables.values() for c in table.constraints}
    | {name for view, body in VIEWS.items() for name in (view, *body.selected_columns.keys())}
)
DIALECTS = {
    "tsql": mssql.dialect(),  # type: ignore[no-untyped-call]
    "postgres": postgresql.dialect(),  # type: ignore[no-untyped-call]
    "mariadb": mysql.dialect(),
    "sqlite": sqlite.dialect(),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_name_that_a_database_reserves_is_quoted(name: str) -> None:
    reserved = {word.upper() for word in dialect_selector(name).sets("reserved_keywords")}
    quote = DIALECTS[name].identifier_preparer.quote
    assert len(reserved) > 20
    assert [n for n in NAMES if n.upper() in reserved and quote(n) == n] == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT jobs.rule FROM jobs",
        "SELECT job_id FROM jobs LIMIT 1",
        "SELECT job_id FROM jobs FOR UPDATE",
        "SELECT EXISTS (SELECT 1 FROM jobs)",
        "SELECT job_id FROM jobs WHERE true",
        "SELECT job_id FROM jobs WHERE active IS 1",
        "SELECT job_id FROM jobs ORDER BY site_id NULLS LAST",
        "SELECT job_id FROM jobs WHERE (job_id, zip) IN ((1, 2))",
        "SELECT city || zip FROM jobs",
        "REPLACE INTO jobs (job_id) VALUES (1)",
        "SELECT job_id FROM jobs ORDER BY jobs.zip, jobs.job_id, jobs.zip DESC",
        "INSERT INTO runs (kind) OUTPUT inserted.run_id VALUES (1)",
        "CREATE TABLE a (b NTEXT NULL)",
        "CREATE TABLE a (b VARCHAR(20) NULL)",
        "CREATE TABLE a (b DATETIME NULL)",
    ],
)
def test_what_sql_server_refuses_is_found(statement: str) -> None:
    assert faults(statement)


def test_what_it_takes_is_not_found_fault_with() -> None:
    some = select(jobs, links.c.state).where(
        jobs.c.active, jobs.c.job_id.in_([1, 2]), ~exists().where(links.c.lease.is_(None)), true()
    )
    for statement in (
        some.order_by(jobs.c.job_id).limit(3),
        select(func.count(), now_ms()).where(runs.c.key == bindparam("id")),
        text("SELECT version_num FROM alembic_version"),
        *(CreateView(name) for name in VIEWS),
    ):
        assert faults(compiled(statement)) == []


def test_every_table_fits_into_sql_server() -> None:
    for table in metadata.tables.values():
        indexes = [CreateIndex(index) for index in table.indexes]
        for statement in (CreateTable(table), *indexes):
            assert faults(compiled(statement)) == []
        for index in table.indexes:
            # NVARCHAR has two bytes a character, and an index no more than 1,700 of them.
            assert 0 < sum(2 * (getattr(c.type, "length", 0) or 8) for c in index.columns) <= 1700
            nullable = any(column.nullable for column in index.columns)
            filtered = index.dialect_options["mssql"]["where"] is not None
            assert filtered == (bool(index.unique) and nullable), "two NULLs count as equal there"


def script(dialect: str, since: str, to: str) -> list[str]:
    config = schema.config_for_alembic()
    config.attributes["dialect_name"] = dialect
    config.output_buffer = written = io.StringIO()
    if to == "base":
        command.downgrade(config, f"{since}:{to}", sql=True)
    else:
        command.upgrade(config, to, sql=True)
    return [part for part in written.getvalue().split("GO\n") if part.strip()]


def test_the_script_for_an_administrator_is_t_sql_there_and_back() -> None:
    whole = schema.script("mssql+pyodbc://h/d")
    assert whole.startswith("SET QUOTED_IDENTIFIER ON")
    assert whole.count("CREATE VIEW") == len(VIEWS)
    back = script("mssql", "head", "base")
    for statement in (*script("mssql", "", "head"), *back):
        assert faults(statement) == []
    for column in (c for table in metadata.tables.values() for c in table.c if c.server_default):
        # There a default is a constraint: mssql_drop_default=True before its column goes.
        assert f"= '{column.name}'" in "".join(back)
