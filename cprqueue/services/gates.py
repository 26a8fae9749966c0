"""May anything be written to QuickBooks Time now?

The push is *stopped* while QuickBooks Time lets us do nothing at all: one alert when it stops, one
when it resumes; the sweep tries once a minute. It is *suspended* after a remove-all, so that the
ordinary sync does not bring the jobs back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.mapping import truth
from cprqueue.domain.models import Json
from cprqueue.errors import AccessStopped, CprqueueError
from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

PUSH_STOPPED = "push_stopped"
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


def push_stopped(conn: Connection) -> Stopped | None:
    """Return why the push is stopped, while it is."""
    return app_state.get_built(conn, PUSH_STOPPED, Stopped)


def stop_push(db: Database, error: AccessStopped, alert: Alert) -> None:
    """Stop the push; only the first of many workers raises the alert."""
    text = f"{error}: {CURES.get(error.status, 'see the API documentation')}"
    with db.begin() as conn:
        if push_stopped(conn) is not None:
            return
        now = clock(conn)
        value = Stopped(status=error.status, text=text, since=now.isoformat())
        app_state.put(conn, PUSH_STOPPED, asdict(value), now=now)
        tell = _is_news(conn, error.status, now)
    log.error("push stopped", extra={"reason": text})
    if tell:
        alert("QuickBooks Time push stopped", text)


def _is_news(conn: Connection, status: int, now: datetime) -> bool:
    told = app_state.get_built(conn, ALERTED, _Told)
    recent = told is not None and now - datetime.fromisoformat(told.at) < QUIET
    if told is not None and told.status == status and recent:
        return False
    value = _Told(status=status, at=now.isoformat(), open=True)
    app_state.put(conn, ALERTED, asdict(value), now=now)
    return True


def resume_push(db: Database, alert: Alert) -> bool:
    """Let the push go on; True if it was stopped. Tells people once for each alert."""
    with db.begin() as conn:
        was = app_state.drop(conn, PUSH_STOPPED)
        told = app_state.get_built(conn, ALERTED, _Told)
        tell = was and told is not None and told.open
        if told is not None and tell:
            over = replace(told, open=False)
            app_state.put(conn, ALERTED, asdict(over), now=clock(conn))
    if was:
        log.warning("push resumed")
    if tell:
        alert("QuickBooks Time push goes on", "QuickBooks Time accepts our requests again.")
    return was


def probe_push(db: Database, qbt: QuickBooksTime, alert: Alert) -> bool:
    """Where the push is stopped, try whether the way is clear; True if the push may run now.

    Costs one call while stopped, none otherwise.
    """
    with db.read() as conn:
        if push_stopped(conn) is None:
            return True
    try:
        user = qbt.current_user()
    except CprqueueError as error:
        log.info("push still stopped", extra={"reason": str(error)})
        return False
    if not may_manage(user):
        return False
    resume_push(db, alert)
    return True


def may_manage(user: Mapping[str, Json]) -> bool:
    """Tell whether the token's user may create and archive jobcodes ("Permissions")."""
    permissions = user.get("permissions")
    if not isinstance(permissions, dict):
        return False
    return truth(permissions.get("admin")) or truth(permissions.get("manage_jobcodes"))


SUSPENDED = "sync_suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Which remove-all suspends the sync, and since when."""

    run_id: int
    since: str


def suspended(conn: Connection) -> Suspension | None:
    """Return the suspension while there is one."""
    return app_state.get_built(conn, SUSPENDED, Suspension)


def suspend(conn: Connection, run_id: int) -> None:
    """Suspend the push because of this remove-all run."""
    now = clock(conn)
    value = Suspension(run_id=run_id, since=now.isoformat())
    app_state.put(conn, SUSPENDED, asdict(value), now=now)


def suspension_reason(conn: Connection) -> str:
    """Say why the sync is suspended and how it goes on, or ""."""
    found = suspended(conn)
    if found is None:
        return ""
    return (
        f"the sync is suspended by the remove-all of run {found.run_id}: "
        f"`cprqueue undo {found.run_id}` or `cprqueue sync --full`"
    )


def lift_suspension(conn: Connection) -> bool:
    """Let the push go on; True if it was suspended."""
    return app_state.drop(conn, SUSPENDED)
