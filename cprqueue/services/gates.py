"""May anything be written to QuickBooks Time now? ``closed_because`` says why not.

The push is *stopped* while QuickBooks Time lets us do nothing at all: one alert when it stops, one
when it resumes; the sweep tries once a minute. It is *suspended* after a remove-all, so that the
ordinary sync does not bring the jobs back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from cprqueue.domain.mapping import truth
from cprqueue.domain.models import Json
from cprqueue.errors import AccessStopped, CprqueueError
from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

if TYPE_CHECKING:
    from cprqueue.clients.qbtime import QuickBooksTime

log = logging.getLogger(__name__)

PUSH_STOPPED = "push_stopped"
ALERTED = "push_stop_alerted"

QUIET = timedelta(hours=6)
"""A stop for the same reason that comes back within this raises no second alert."""

CURES = {
    401: "the token is not accepted: put a valid QBT_ACCESS_TOKEN into .env",
    402: "billing is not current: settle it in QuickBooks Time",
    403: "the token lacks a right: it needs an administrator or 'manage jobcodes'",
    499: "this machine's address is blocked: allow it in QuickBooks Time's IP authorization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alerted:
    status: int
    at: str
    open: bool


Alert = Callable[[str, str], None]


def closed_because(conn: Connection) -> str:
    """Say in one line why nothing may be written to QuickBooks Time now; "" where it may."""
    stopped = push_stopped(conn)
    return f"the push is stopped: {stopped.text}" if stopped else suspension_reason(conn)


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
        now = clock(conn)
        value = Stopped(status=error.status, text=text, since=now.isoformat())
        if not app_state.put_first(conn, PUSH_STOPPED, asdict(value), now=now):
            return
        is_news = _is_news(conn, error.status, now)
    log.error("push stopped", extra={"reason": text})
    if is_news:
        alert("QuickBooks Time push stopped", text)


def _is_news(conn: Connection, status: int, now: datetime) -> bool:
    alerted = app_state.get_built(conn, ALERTED, _Alerted)
    recent = alerted is not None and abs(now - datetime.fromisoformat(alerted.at)) < QUIET
    if alerted is not None and alerted.status == status and recent:
        return False
    value = _Alerted(status=status, at=now.isoformat(), open=True)
    app_state.put(conn, ALERTED, asdict(value), now=now)
    return True


def resume_push(db: Database, alert: Alert) -> bool:
    """Let the push go on; True if it was stopped. One message for each alert."""
    with db.begin() as conn:
        was = app_state.drop(conn, PUSH_STOPPED)
        alerted = app_state.get_built(conn, ALERTED, _Alerted)
        announce = was and alerted is not None and alerted.open
        if alerted is not None and announce:
            over = replace(alerted, open=False)
            app_state.put(conn, ALERTED, asdict(over), now=clock(conn))
    if was:
        log.warning("push resumed")
    if announce:
        alert("QuickBooks Time push goes on", "QuickBooks Time accepts our requests again.")
    return was


def probe_push(db: Database, qbt: QuickBooksTime, alert: Alert) -> bool:
    """Where the push is stopped, try one call; True if the push may run now.

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
