"""Archives that took effect, or may have, after another process had taken their run over.

QuickBooks Time cannot be told which of two writers is the right one, so whoever learns that its
request came late records that: an active job becomes due and is verified (``note_active``), and
an undo that had already restored the jobcode is carried out once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue.domain.models import name_key
from cprqueue.domain.records import PlanItem, Run
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.store import jobs, plan_items, push_queue, runs
from cprqueue.store.database import clock

NOTE = "archived by a request that arrived late"

UNDONE = (Outcome.RESTORING, Outcome.RESTORED, Outcome.DROPPED)


def overtaken(conn: Connection, items: Sequence[PlanItem]) -> list[PlanItem]:
    """Return the items that another process has undone or dropped since they were sent."""
    found = plan_items.outcomes(conn, [item.item_id for item in items])
    now = [replace(item, outcome=found[item.item_id]) for item in items]
    return [item for item in now if item.outcome in UNDONE]


def note(conn: Connection, items: Sequence[PlanItem]) -> None:
    """Record that these are archived, although they had been undone or dropped."""
    ids = [item.item_id for item in items]
    plan_items.set_outcome(conn, ids, Outcome.ARCHIVED, now=clock(conn), note=NOTE)
    for item in items:
        _repeat_undo(conn, item)


def note_unknown(
    conn: Connection, items: Sequence[PlanItem], *, under_way: timedelta = timedelta(0)
) -> None:
    """Record that a request without an answer may have archived these.

    ``under_way``: how long it may still be under way; a verification before that proves nothing.
    """
    found = overtaken(conn, items)
    note(conn, [item for item in found if item.outcome is not Outcome.DROPPED])
    for item in found:
        job = jobs.get(conn, item.job_id) if item.job_id is not None else None
        if job is not None and job.active:
            now = clock(conn)
            push_queue.require_verification(conn, [job.job_id], now=now, at=now + under_way)


def _repeat_undo(conn: Connection, item: PlanItem) -> None:
    """Queue the undo of this item again, where there is one that has ended.

    One that is at work finds the item by its note.
    """
    for undo in runs.newest_few(conn, RunKind.UNDO, limit=100):
        if _covers(undo, item):
            counted = runs.existing(conn, undo.run_id, to_write=True).recorded
            again = counted - (item.outcome is Outcome.RESTORED)
            if runs.requeue(conn, undo.run_id, only_from=(RunState.DONE,), recorded=again):
                # As if nobody had touched it for long: the next sweep sends its message.
                runs.change(conn, undo.run_id, touched_at=undo.created_at)
            return


def _covers(undo: Run, item: PlanItem) -> bool:
    numbers = undo.details.get("numbers")
    named = {name_key(str(number)) for number in numbers} if isinstance(numbers, list) else set()
    same_run = undo.details.get("of_run") == item.run_id
    return same_run and (not named or name_key(item.label) in named)
