"""Items of a job list that no job could be read from: they are named, and nothing vanishes by them.

Run twice, each function leaves the same behind.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from cprqueue.domain.mapping import Unread
from cprqueue.domain.models import name_key
from cprqueue.domain.records import Run
from cprqueue.store import jobs, runs

log = logging.getLogger(__name__)

NAMED = 5
"""So many are named in a note; the others are counted."""


def describe(unread: Sequence[Unread]) -> str | None:
    """Return one line that names what could not be read; None where that is nothing."""
    if not unread:
        return None
    names = ", ".join(item.label for item in unread[:NAMED])
    more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
    return f"{len(unread)} in the list could not be read and stay as they are: {names}{more}"


def note_unread(conn: Connection, run_id: int, unread: Sequence[Unread], *, complete: bool) -> None:
    """Put on the run what it could not read; the known jobs among that count as seen.

    A fetch with one that might be any job is *blind*: no job counts as vanished by it.
    """
    note = describe(unread)
    blind = _mark_seen(conn, run_id, unread) if complete else 0
    if blind:
        note = f"{note}; so no job counts as vanished by this fetch"
    detail = runs.existing(conn, run_id).details
    if blind or "blind" in detail:
        detail = {**detail, "blind": blind}
    runs.progress(conn, run_id, skipped=len(unread), note=note, detail=detail or None)
    if unread:
        log.warning("some jobs could not be read", extra={"run_id": run_id, "reason": note})


def _mark_seen(conn: Connection, run_id: int, unread: Sequence[Unread]) -> int:
    """Note that the fetch has shown these jobs; return how many unreadable ones might be any."""
    ids = {item.job_id for item in unread if item.job_id is not None}
    keys = {name_key(i.job_number) for i in unread if i.job_id is None and i.job_number}
    found = jobs.mark_seen(conn, run_id, ids, keys)
    return sum(
        item.is_job and item.job_id is None and name_key(item.job_number) not in found
        for item in unread
    )


def is_blind(run: Run) -> bool:
    """Tell whether a job that this complete fetch did not show may have been in it."""
    return bool(run.details.get("blind"))
