"""May anything be written to QuickBooks Time now? ``closed_because`` says why not.

The push is *stopped* while QuickBooks Time lets us do nothing at all; the sweep tries once a minute
(``services.alerting`` tells people). It is *suspended* after a remove-all, so that the ordinary
sync does not bring the jobs back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

CURES = {
    401: "the token is not accepted: put a valid QBT_ACCESS_TOKEN into .env",
    402: "billing is not current: settle it in QuickBooks Time",
    403: "the token lacks a right: it needs an administrator or 'manage jobcodes'",
    499: "this machine's address is blocked: allow it in QuickBooks Time's IP authorization",
}


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


def stop_push(db: Database, error: AccessStopped) -> None:
    """Stop the push; of many workers the first says so in the log."""
    text = f"{error}: {CURES.get(error.status, 'see the API documentation')}"
    with db.begin() as conn:
        now = clock(conn)
        value = Stopped(status=error.status, text=text, since=now.isoformat())
        if not app_state.put_first(conn, PUSH_STOPPED, asdict(value), now=now):
            return
    log.error("push stopped", extra={"reason": text})


def resume_push(db: Database) -> bool:
    """Let the push go on; True if it was stopped."""
    with db.begin() as conn:
        was = app_state.drop(conn, PUSH_STOPPED)
    if was:
        log.warning("push resumed")
    return was


def probe_push(db: Database, qbt: QuickBooksTime) -> bool:
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
    resume_push(db)
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
