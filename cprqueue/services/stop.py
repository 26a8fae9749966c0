"""The stop: when QuickBooks Time lets us do nothing at all, the push waits as a whole.

One alert when it stops, one when it goes on. While it is stopped a doorbell costs nothing;
the sweep tries once a minute whether the way is clear again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from cprqueue.errors import AccessStopped
from cprqueue.store import locks
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

NAME = "push_stopped"

CURES = {
    401: "the token is not accepted: put a valid QBT_ACCESS_TOKEN into .env",
    402: "billing is not current: settle it in QuickBooks Time",
    403: "the token lacks a right: it needs an administrator or 'manage jobcodes'",
    499: "this machine's address is blocked: allow it in QuickBooks Time's IP authorization",
}


def stopped(conn: Connection) -> dict[str, Any] | None:
    """Return ``{"status", "text", "since"}`` while the push is stopped."""
    found = locks.get_value(conn, NAME)
    return found if isinstance(found, dict) else None


def stop(db: Database, error: AccessStopped, alert: Callable[[str, str], None]) -> None:
    """Stop the push; only the first of many workers raises the alert."""
    text = f"{error}: {CURES.get(error.status, 'see the API documentation')}"
    with db.begin() as conn:
        first = stopped(conn) is None
        if first:
            now = clock(conn)
            value = {"status": error.status, "text": text, "since": now.isoformat()}
            locks.set_value(conn, NAME, value, now=now)
    if first:
        log.error("push stopped", extra={"reason": text})
        alert("QuickBooks Time push stopped", text)


def resume(db: Database, alert: Callable[[str, str], None]) -> bool:
    """Let the push go on; True if it was stopped."""
    with db.begin() as conn:
        was = locks.drop_value(conn, NAME)
    if was:
        log.info("push resumed")
        alert("QuickBooks Time push goes on", "QuickBooks Time accepts our requests again.")
    return was
