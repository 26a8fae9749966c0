"""PostgreSQL's driver with a limit on every wait.

libpq has none of its own: behind a balancer whose server is gone, a connection stays open, and
silent, for ever. The server's own limit on a statement ends no wait for an answer that is lost.
"""

from __future__ import annotations

from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

RV = TypeVar("RV")
FIRST_ANSWER_SECONDS = 10.0
"""For a ping, and for what a transaction begins with: these wait for no lock and read no table."""

ANSWER_SECONDS = 75.0
"""For everything else: longer than the server itself lets a statement run."""


class LimitedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed, with an OperationalError, once an answer is overdue.

    What was under way may have happened, as after any lost connection.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer, for the time that is given or the usual one."""
        fresh = self.pgconn.transaction_status == TransactionStatus.IDLE
        limit = timeout or (FIRST_ANSWER_SECONDS if fresh else ANSWER_SECONDS)
        try:
            return super().wait(gen, interval, limit)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {limit:g} s") from None
