"""SQL: a moment moved by milliseconds, in the words of each database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, DateTime, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement


class moved_by(FunctionElement[datetime]):  # noqa: N801  (named like an SQL function)
    """A moment (a column) moved by a number of milliseconds."""

    type = DateTime()
    name = "moved_by"
    inherit_cache = True

    def __init__(self, moment: ColumnElement[datetime], milliseconds: int) -> None:
        super().__init__(moment, literal(milliseconds, BigInteger()))


@compiles(moved_by, "sqlite")
def _sqlite_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f', {moment}, ({by} / 1000.0) || ' seconds') || '000'"


@compiles(moved_by, "postgresql")
def _postgresql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"{moment} + {by} * INTERVAL '1 millisecond'"


@compiles(moved_by, "mssql")
def _mssql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    seconds = f"DATEADD(second, CAST({by} / 1000 AS INT), {moment})"  # of an INT, no BIGINT
    return f"DATEADD(millisecond, CAST({by} % 1000 AS INT), {seconds})"


@compiles(moved_by, "mysql")
@compiles(moved_by, "mariadb")
def _mysql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"DATE_ADD({moment}, INTERVAL {by} * 1000 MICROSECOND)"
