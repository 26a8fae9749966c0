"""The views, for whoever reads the database with a SQL tool.

Built from the tables, so that each database quotes and says it in its own words.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from cprqueue.domain.states import RunKind, RunState
from cprqueue.store.tables import jobs, links, qbt_export, runs

_JOB = ("job_id", "job_number", "job_name", "site_id", "status", "progress")
_ADDRESS = ("addr1", "addr2", "city", "state", "zip")
_JOBCODE = ("jobcode_id", "name", "name_key", "type", "parent_id", "jobcode_active")
_MORE = ("assigned_to_all", "has_children", "short_code", "jobcode_modified_at", "location_id")
_LOCATION = (*_ADDRESS, "location_active", "location_modified_at")

_NEWEST = select(func.max(runs.c.run_id)).where(
    runs.c.kind == RunKind.SNAPSHOT, runs.c.state == RunState.DONE
)

# Each column is named: migration 0001 makes the views, and later ones add columns to the tables.
VIEWS: dict[str, Select[*tuple[Any, ...]]] = {
    "active_jobs": select(
        *(jobs.c[name] for name in (*_JOB, *_ADDRESS, "rule", "recorded_at")),
        links.c.jobcode_id,
        links.c.location_id,
        links.c.state.label("push_state"),
        links.c.pushed_at,
    )
    .select_from(jobs.outerjoin(links, links.c.job_id == jobs.c.job_id))
    .where(jobs.c.active),
    "qbt_current": select(
        *(qbt_export.c[name] for name in ("row_id", "run_id", *_JOBCODE, *_MORE, *_LOCATION))
    ).where(qbt_export.c.run_id == _NEWEST.scalar_subquery()),
}


class CreateView(ExecutableDDLElement):
    """CREATE VIEW for one of ``VIEWS``."""

    def __init__(self, name: str) -> None:
        self.name = name


class DropView(ExecutableDDLElement):
    """DROP VIEW."""

    def __init__(self, name: str) -> None:
        self.name = name


@compiles(CreateView)
def _create(element: CreateView, compiler: DDLCompiler, **_: object) -> str:
    name = compiler.preparer.quote(element.name)
    body = compiler.sql_compiler.process(VIEWS[element.name], literal_binds=True)
    return f"CREATE VIEW {name} AS {body}"


@compiles(DropView)
def _drop(element: DropView, compiler: DDLCompiler, **_: object) -> str:
    return f"DROP VIEW {compiler.preparer.quote(element.name)}"
