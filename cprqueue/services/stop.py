"""The stop: when QuickBooks Time lets us do nothing at all, the push waits as a whole.

One alert when it stops, one when it goes on. While it is stopped a doorbell costs nothing;
the sweep tries once a minute whether the way is clear again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.errors import AccessStopped, CprqueueError
from cprqueue.mapping import truth
from cprqueue.models import Json
from cprqueue.qbtime import QuickBooksTime
from cprqueue.store import locks
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

NAME = "push_stopped"
ALERTED = "push_stop_alerted"

QUIET = timedelta(hours=6)
"""A stop for the same reason that comes back within this is not told again."""

CURES = {
    401: "the token is not accepted: put a valid QBT_ACCESS_TOKEN into .env",
    402: "billing is not current: settle it in QuickBooks Time",
    403: "the token lacks a right: it needs an administrator or 'manage jobcodes'",
    499: "this machine's address is blocked: allow it in QuickBooks Time's IP authorization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    status: int
    at: str
    open: bool


Alert = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why the push is stopped, and since when."""

    status: int
    text: str
    since: str


def stopped(conn: Connection) -> Stopped | None:
    """Return why the push is stopped, while it is."""
    return locks.get_built(conn, NAME, Stopped)


def stop(db: Database, error: AccessStopped, alert: Alert) -> None:
    """Stop the push; only the first of many workers raises the alert."""
    text = f"{error}: {CURES.get(error.status, 'see the API documentation')}"
    with db.begin() as conn:
        if stopped(conn) is not None:
            return
        now = clock(conn)
        value = Stopped(status=error.status, text=text, since=now.isoformat())
        locks.set_value(conn, NAME, asdict(value), now=now)
        tell = _is_news(conn, error.status, now)
    log.error("push stopped", extra={"reason": text})
    if tell:
        alert("QuickBooks Time push stopped", text)


def _is_news(conn: Connection, status: int, now: datetime) -> bool:
    told = locks.get_built(conn, ALERTED, _Told)
    recent = told is not None and now - datetime.fromisoformat(told.at) < QUIET
    if told is not None and told.status == status and recent:
        return False
    value = _Told(status=status, at=now.isoformat(), open=True)
    locks.set_value(conn, ALERTED, asdict(value), now=now)
    return True


def resume(db: Database, alert: Alert) -> bool:
    """Let the push go on; True if it was stopped. Tells people once for each alert."""
    with db.begin() as conn:
        was = locks.drop_value(conn, NAME)
        told = locks.get_built(conn, ALERTED, _Told)
        tell = was and told is not None and told.open
        if told is not None and tell:
            over = replace(told, open=False)
            locks.set_value(conn, ALERTED, asdict(over), now=clock(conn))
    if was:
        log.warning("push resumed")
    if tell:
        alert("QuickBooks Time push goes on", "QuickBooks Time accepts our requests again.")
    return was


def probe(db: Database, qbt: QuickBooksTime, alert: Alert) -> bool:
    """Where the push is stopped, try whether the way is clear; True if the push may run now.

    Costs one call while stopped, none otherwise.
    """
    with db.read() as conn:
        if stopped(conn) is None:
            return True
    try:
        user = qbt.current_user()
    except CprqueueError as error:
        log.info("push still stopped", extra={"reason": str(error)})
        return False
    if not may_manage(user):
        return False
    resume(db, alert)
    return True


def may_manage(user: Mapping[str, Json]) -> bool:
    """Tell whether the token's user may create and archive jobcodes ("Permissions")."""
    permissions = user.get("permissions")
    if not isinstance(permissions, dict):
        return False
    return truth(permissions.get("admin")) or truth(permissions.get("manage_jobcodes"))
