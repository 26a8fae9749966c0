"""A pytest plugin: whatever the tests execute is held to SQL Server, on every database.

Each statement is compiled for SQL Server as well, and when the session ends those that are new
are parsed (``grammar``); what is wrong with one fails the session. What was right is kept in
pytest's cache. It works with xdist, and for one test as for all. No statement may have more than
2,000 parameters. Statements of other processes, and plain strings, are not seen.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.elements import ReleaseSavepointClause

from cprqueue.store.chunks import MOST_PARAMETERS

PROCESSES = 2
KEPT = "tsql/right"

_dialect = MSDialect_pyodbc(paramstyle="named")  # type: ignore[no-untyped-call]
_seen: set[object] = set()
_statements: set[str] = set()
_faults: dict[str, list[str]] = {}


@event.listens_for(Engine, "before_execute")
def _record(
    conn: Connection,
    statement: Any,
    many: Sequence[Mapping[str, object]],
    one: Mapping[str, object],
    _options: object,
) -> None:
    if conn.dialect.name != "sqlite" or isinstance(statement, ReleaseSavepointClause):
        return  # the same elsewhere, but for what tests ask the server; not sent to SQL Server
    names = tuple(many[0]) if many else tuple(one)
    key = _key(statement, names)
    if key not in _seen:
        _seen.add(key)
        _statements.add(compiled(statement, names))


def _key(statement: Any, names: tuple[str, ...]) -> object:
    found = statement._generate_cache_key() if hasattr(statement, "_generate_cache_key") else None
    return (found.key if found else str(statement), names)


def compiled(statement: Any, names: Sequence[str] = ()) -> str:
    """Return the statement in the words of SQL Server, parameters and lists of them as ``@p``."""
    keys = {"column_keys": list(names)} if names else {}  # tables have none
    options = {"render_postcompile": True}
    try:
        found = str(statement.compile(dialect=_dialect, compile_kwargs=options, **keys))
    except CompileError as error:
        return f"cannot be compiled: {error}: {statement}"
    found = re.sub(r"(?<![:\w]):\w+", "@p", found)
    found = re.sub(r"sa_savepoint_\d+", "sa_savepoint", found)
    return re.sub(r"@p(, @p)+", "@p", found) if "INSERT" not in found else found


@event.listens_for(Engine, "before_cursor_execute")
def _count(
    _conn: object,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    executemany: bool,
) -> None:
    # Rows that go in one statement are many only for SQLAlchemy.
    each = executemany and all(isinstance(row, (tuple, dict)) for row in parameters)
    most = max(map(len, parameters), default=0) if each else len(parameters or ())
    if most > MOST_PARAMETERS:
        text = f"{most} parameters, at most {MOST_PARAMETERS} are allowed"
        _faults[statement[:200]] = [text]
        raise AssertionError(f"{text}: {statement[:200]}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of xdist has seen."""
    output = getattr(node, "workeroutput", {})
    _statements.update(output.get("statements", ()))
    _faults.update(output.get("faults", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Parse what is new; fail the session for what SQL Server would not take."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output |= {"statements": sorted(_statements), "faults": _faults}
        return
    cache = getattr(session.config, "cache", None)  # it may be switched off
    right = set(cache.get(KEPT, [])) if cache else set()
    new = sorted(_statements - right)
    found = dict(zip(new, parse(new), strict=True))
    _faults.update((statement, faults) for statement, faults in found.items() if faults)
    if cache:
        cache.set(KEPT, sorted(right | (found.keys() - _faults.keys())))
    if _faults and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def parse(statements: Sequence[str]) -> list[list[str]]:
    """Say what is wrong with each; in processes of their own, for speed."""
    if not statements:
        return []
    parts = [list(statements[n::PROCESSES]) for n in range(PROCESSES)]
    command = [sys.executable, "-m", "tests.tsql.grammar"]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in parts]
    for process, part in zip(running, parts, strict=True):
        assert process.stdin is not None
        json.dump(part, process.stdin)
        process.stdin.close()
    results: list[list[str]] = [[] for _ in statements]
    for n, process in enumerate(running):
        assert process.stdout is not None
        with process.stdout:
            results[n::PROCESSES] = json.load(process.stdout)
        process.wait()
    return results


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what SQL Server would not take."""
    if not _faults:
        return
    terminalreporter.section("SQL Server would not take")
    for statement, faults in sorted(_faults.items()):
        terminalreporter.line(f"{'; '.join(faults)}:\n  {statement}")
