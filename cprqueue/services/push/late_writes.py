"""Late writes: requests that arrived after their lease had expired, so maybe after newer ones.

QuickBooks Time cannot tell them from others, so whoever learns of one marks every job that it
touched: the next claim verifies them in full and puts them right. A jobcode that a late create
made for a job which has another one by now is renamed and archived. What if the process dies
- before the answer: nobody knows of the write; the next snapshot finds what it changed.
- after the jobs are marked: they are verified; the next sweep clears up the creates.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.clients import listings
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain import naming
from cprqueue.domain.adoption import choose_created
from cprqueue.domain.models import BATCH, Jobcode, built, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_plan import CreateJobcode, Write, touched_ids
from cprqueue.domain.states import LinkState
from cprqueue.errors import CprqueueError, ServiceFailed
from cprqueue.services.push import verify
from cprqueue.store import app_state, events, links, orphaned_creates, push_queue
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

Late = Sequence[tuple[Item, Write]]

PREFIX = "late_"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCreate:
    """A create that arrived late, or will ``until`` then. Moments are in ISO format."""

    job_id: int
    name: str
    sent_at: str
    until: str


def mark(conn: Connection, late: Late, *, under_way: timedelta = timedelta(0)) -> None:
    """Have every job that these writes touched verified.

    ``under_way``: how long they may still be under way, where they were not answered.
    """
    if not late:
        return
    now = clock(conn)
    jobcode_ids, location_ids = set[int](), set[int]()
    for _, action in late:
        codes, places = touched_ids(action)
        jobcode_ids |= set(codes)
        location_ids |= set(places)
    ids = {item.job_id for item, _ in late}
    ids |= {row.job_id for row in links.touching(conn, sorted(jobcode_ids), sorted(location_ids))}
    push_queue.require_verification(conn, ids, now=now, at=now + under_way)
    _note_creates(conn, late, now, now + under_way)
    text = "a request arrived after its lease had expired: verifying"
    events.add(conn, [events.event(job_id, "late", text, at=now) for job_id in sorted(ids)])
    log.warning("late requests", extra={"jobs": len(ids)})


def _note_creates(conn: Connection, late: Late, now: datetime, until: datetime) -> None:
    for item, action in late:
        if isinstance(action, CreateJobcode) and item.intent_at is not None:
            create = LateCreate(
                job_id=item.job_id,
                name=action.name,
                sent_at=item.intent_at.isoformat(),
                until=until.isoformat(),
            )
            app_state.put(conn, f"{PREFIX}{uuid.uuid4().hex}", asdict(create), now=now)


def clear_up(db: Database, qbt: QuickBooksTime) -> None:
    """Rename and archive the jobcodes that late creates made for jobs which need them no more.

    Costs no call where there are none. Where the listing cannot be read, or the archive is not
    answered or refused, the next sweep tries again.
    """
    with db.read() as conn:
        now = clock(conn)
        noted = app_state.with_prefix(conn, PREFIX)
    creates = {n: built(LateCreate, v) for n, v in noted.items() if isinstance(v, dict)}
    if not creates:
        return
    try:
        _clear_up(db, qbt, list(creates.values()), now)
    except CprqueueError as error:
        log.warning("late creates not cleared up yet", extra={"reason": str(error)})
        return
    with db.begin() as conn:
        for name, create in creates.items():
            if create.until <= now.isoformat():
                app_state.drop(conn, name)


def _clear_up(
    db: Database, qbt: QuickBooksTime, creates: Sequence[LateCreate], now: datetime
) -> None:
    since = min(datetime.fromisoformat(create.sent_at) for create in creates)
    free = verify.unmanaged(db, listings.changed_jobcodes(qbt, since, now=now))
    surplus = {}
    for create in creates:
        code = choose_created(free, create.name)
        if code is not None and not _still_needed(db, create):
            surplus[code.id] = (create, code)
    rows = list(surplus.values())
    for start in range(0, len(rows), BATCH):
        _archive(db, qbt, rows[start : start + BATCH])


def _still_needed(db: Database, create: LateCreate) -> bool:
    """Tell whether the job's verification, or the sweep, will find the jobcode and link it."""
    with db.begin() as conn:
        link = links.get(conn, create.job_id, to_write=True)
        if link is None or link.jobcode_id is not None:
            return False
        if link.state is LinkState.IDLE:
            sent_at = datetime.fromisoformat(create.sent_at)
            orphaned_creates.reopen(conn, create.job_id, create.name, sent_at)
            return True
        [row] = push_queue.with_jobs(conn, [create.job_id])
        return row.name_key == name_key(create.name)


def _archive(db: Database, qbt: QuickBooksTime, surplus: list[tuple[LateCreate, Jobcode]]) -> None:
    results = qbt.change_jobcodes(
        [
            {"id": code.id, "name": naming.beside(code.name, create.job_id), "active": False}
            for create, code in surplus
        ]
    )
    with db.begin() as conn:
        now = clock(conn)
        adopted: Iterable[int] = links.with_jobcodes(conn, [c.id for _, c in surplus]).values()
        push_queue.require_verification(conn, adopted, now=now)
        for (create, code), result in zip(surplus, results, strict=True):
            if not result.done:
                continue
            push_queue.requeue_name_conflicts(conn, name_key(code.name), now=now)
            text = f"jobcode {code.id} was created late, and archived: the job has another one"
            events.add(conn, [events.event(create.job_id, "late", text, at=now)])
    left = [code.id for (_, code), result in zip(surplus, results, strict=True) if not result.done]
    if left:
        raise ServiceFailed(f"QuickBooks Time did not archive jobcode {left[0]} (of {len(left)})")
