"""Lock rows by writing them, which every database does alike.

SQL Server has no FOR UPDATE, and its hints exist nowhere else: an UPDATE of what a row holds
already keeps all others from writing it until the transaction ends, there too.
"""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Connection, update


def lock(conn: Connection, column: Column[int], *where: ColumnElement[bool]) -> None:
    """Lock the rows for which all of ``where`` hold: nobody else writes them before we have.

    ``column``: one of theirs that no index has. Read them after this, not before.
    """
    conn.execute(update(column.table).where(*where).values({column: column}))
