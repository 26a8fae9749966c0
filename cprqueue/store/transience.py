"""Which errors of a database pass by themselves: decided by SQLSTATE and native number alone.

The classes that drivers raise do not tell: ODBC drivers give a deadlock and a dead connection
their plainest one.
"""

from __future__ import annotations

import re
import sqlite3
from enum import StrEnum
from typing import NamedTuple


class Trouble(StrEnum):
    """What an error that passes says of the connection."""

    LOST = "lost"  # it is gone, or the server takes none now: a new one may do
    CLASH = "clash"  # it stands; another transaction was in the way: the same again may do


class Code(NamedTuple):
    """What the database said: a SQLSTATE, its own number, or both."""

    sqlstate: str
    native: int


CLASHES = {
    # Deadlock, no lock left, lock timeout, snapshot conflicts, a scan whose rows moved; a
    # savepoint that went with its transaction.
    "mssql": {1205, 1204, 1221, 1222, 3960, 3961, 601, 3903, 3930, 3931, 6401},
    # Lock timeout, deadlock, row changed, interrupted or too long; the savepoint again.
    "mysql": {1205, 1213, 1020, 1317, 1969, 3024, 1305},
    "sqlite": {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED},
}

LOSSES = {
    # Azure's: moved, busy or over its limits. Full, or short of memory. A connection that broke
    # or was ended; FreeTDS's numbers for that. A server that stops. A database that is being
    # recovered or restored, or is another server's: a failover.
    "mssql": {40143, 40197, 40501, 40540, 40613, 42108, 42109, 49918, 49919, 49920}
    | {10928, 10929, 10936, 615, 617, 669, 701, 802, 845, 1101, 1105, 8628, 8645, 8651, 9002}
    | {20, 64, 121, 233, 258, 596, 3971, 10053, 10054, 10060, 10061, 11001}
    | {20002, 20004, 20006, 20009, 20017, 20047}
    | {6005, 17142, 17197, 18401, 921, 922, 923, 927, 942, 952, 976, 978, 983, 3906, 4060, 4221},
    # Full; too many connections; a server that stops or is a copy; a connection that is gone.
    "mysql": {1021, 1114, 1040, 1203, 1226, 1053, 1290, 1836, 1152, 1158, 1159, 1160, 1161, 1184}
    | {1927, 2002, 2003, 2005, 2006, 2013, 2014, 2026, 2045, 2055, 4031, 5013, 5014, 5015},
    "sqlite": set[int](),
}

CLASH_STATES = ("40001", "40P01", "55P03", "57014", "HYT00")
LOSS_STATES = ("08", "40003", "57", "58", "53", "25006", "25P03", "HYT01", "01002")
"""Beginnings of SQLSTATEs."""

_NATIVE = re.compile(r"\((-?\d+)\)(?= \(SQL|; \[|$)")
"""A native number in the text of an ODBC driver's error: behind each of its messages."""


def trouble(dialect: str, codes: list[Code]) -> Trouble | None:
    """Return what an error with these codes means; None where it does not pass by itself.

    A dead connection outweighs the rest: after it nothing else can be relied on.
    """
    family = "mysql" if dialect == "mariadb" else dialect
    found = {_of_code(family, code) for code in codes}
    return next((kind for kind in Trouble if kind in found), None)


def _of_code(family: str, code: Code) -> Trouble | None:
    if code.native in CLASHES.get(family, ()):
        return Trouble.CLASH
    if code.native in LOSSES.get(family, ()):
        return Trouble.LOST
    if code.sqlstate.startswith(CLASH_STATES):
        return Trouble.CLASH
    return Trouble.LOST if code.sqlstate.startswith(LOSS_STATES) else None


def codes_of(error: BaseException) -> list[Code]:
    """Return the codes in a driver's error: of psycopg, pyodbc, sqlite3, and others like these."""
    if isinstance(error, sqlite3.Error):
        return [Code("", getattr(error, "sqlite_errorcode", 0) & 0xFF)]
    if state := getattr(error, "sqlstate", None):  # psycopg
        return [Code(str(state), 0)]
    first, text = [*error.args, "", ""][:2]
    if isinstance(first, int):  # PyMySQL, mysqlclient, pymssql
        return [Code("", first)]
    natives = _NATIVE.findall(str(text))
    return [Code(str(first) if len(str(first)) == 5 else "", int(n)) for n in natives or ["0"]]
