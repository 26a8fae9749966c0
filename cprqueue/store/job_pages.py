"""Jobs by the page, for people who look for one among very many.

A page is read in two steps: the ids by the order that was asked for, then the rows of these few.
Sorting whole rows, or joining before sorting, takes several times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, false, func, or_, select

from cprqueue.domain.models import name_key
from cprqueue.domain.records import Record
from cprqueue.domain.states import LinkState
from cprqueue.store.chunks import chunks
from cprqueue.store.database import count
from cprqueue.store.patterns import ESCAPE, escaped
from cprqueue.store.tables import jobs, keeps, links

MOST_WORDS = 5
LONGEST_ID = 18
"""Digits of the longest id that every database takes."""

SORTS: dict[str, ColumnElement[object]] = {
    "number": jobs.c.name_key,
    "customer": jobs.c.job_name,
    "street": jobs.c.addr1,
    "id": jobs.c.job_id,
    "changed": jobs.c.recorded_at,
}
"""What jobs can be sorted by: columns of one table, of which a database sorts 100,000 quickly."""

STATES = (LinkState.IN_SYNC, LinkState.DUE, LinkState.PARKED, LinkState.HELD)
ACTIVE, INACTIVE, KEPT = "active", "inactive", "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow(Record):
    """A job with what a list shows of it."""

    job_id: int
    job_number: str
    job_name: str
    addr1: str
    city: str
    active: bool
    rule: str
    recorded_at: datetime
    push_state: LinkState | None
    jobcode_id: int | None
    pushed_at: datetime | None
    error_reason: str | None
    due_run_id: int | None


_ROWS = select(
    *(jobs.c[name] for name in ("job_id", "job_number", "job_name", "addr1", "city")),
    *(jobs.c[name] for name in ("active", "rule", "recorded_at")),
    links.c.state.label("push_state"),
    *(links.c[name] for name in ("jobcode_id", "pushed_at", "error_reason", "due_run_id")),
).select_from(jobs.outerjoin(links, links.c.job_id == jobs.c.job_id))


def page(
    conn: Connection,
    state: str,
    text: str,
    *,
    now: datetime,
    sort: str,
    descending: bool,
    offset: int,
    limit: int,
) -> list[JobRow]:
    """Return one page; ``state`` is one of STATES, ACTIVE, INACTIVE, KEPT or "", ``sort`` of SORTS.

    Jobs that have ``text`` as their id or number come alone, else those where each word of it
    occurs in number, customer or street.
    """
    ordered = _of_state(state, now).order_by(*_order(sort, descending, searched=bool(text)))
    for where in _wanted(conn, text):
        ids = conn.execute(ordered.where(*where).offset(offset).limit(limit)).scalars()
        if found := list(ids):
            return of_ids(conn, found)
    return []


def _order(sort: str, descending: bool, *, searched: bool) -> list[ColumnElement[object]]:
    columns = [SORTS[sort], *([] if sort == "id" else [jobs.c.job_id])]
    if sort == "number" and searched:
        # Not by its index: whoever looks for what is nowhere would read every row through it.
        columns[0] = func.lower(jobs.c.name_key)
    return [column.desc() if descending else column for column in columns]


def after(
    conn: Connection, state: str, text: str, *, now: datetime, job_id: int, limit: int
) -> list[JobRow]:
    """Return the next jobs by id after ``job_id``, chosen as by ``page``."""
    following = _of_state(state, now).where(jobs.c.job_id > job_id).order_by(jobs.c.job_id)
    ids = conn.execute(following.where(*_chosen(conn, state, text, now)).limit(limit)).scalars()
    return of_ids(conn, list(ids))


def _chosen(
    conn: Connection, state: str, text: str, now: datetime
) -> Sequence[ColumnElement[bool]]:
    """Return the condition of ``page``: exact hits alone, if there are any."""
    found: Sequence[ColumnElement[bool]] = ()
    for found in _wanted(conn, text):
        if conn.execute(_of_state(state, now).where(*found).limit(1)).first():
            break
    return found


def of_ids(conn: Connection, ids: Sequence[int]) -> list[JobRow]:
    """Return the rows of these jobs, in this order."""
    found: dict[int, JobRow] = {}
    for part in chunks(ids):
        rows = conn.execute(_ROWS.where(jobs.c.job_id.in_(part))).mappings()
        found |= {row["job_id"]: JobRow.from_row(row) for row in rows}
    return [found[job_id] for job_id in ids if job_id in found]


def _of_state(state: str, now: datetime) -> Select[int]:
    """Select the ids of the jobs that are in this state."""
    everything = select(jobs.c.job_id)
    if state in STATES:
        linked = jobs.join(links, links.c.job_id == jobs.c.job_id)
        return everything.select_from(linked).where(links.c.state == state)
    if state in (ACTIVE, INACTIVE):
        return everything.where(jobs.c.active if state == ACTIVE else ~jobs.c.active)
    if state == KEPT:
        kept = jobs.join(keeps, keeps.c.job_id == jobs.c.job_id)
        return everything.select_from(kept).where(_standing(now))
    return everything


def _standing(now: datetime) -> ColumnElement[bool]:
    return or_(keeps.c.until.is_(None), keeps.c.until > now)


def _wanted(conn: Connection, text: str) -> Iterator[Sequence[ColumnElement[bool]]]:
    """Yield the conditions to try one after the other, until one finds something."""
    if not text.strip():
        yield ()
        return
    yield (_exactly(text),)
    has = _has_on_sqlite if conn.dialect.name == "sqlite" else _has
    words = text.split()[:MOST_WORDS]
    words.sort(key=lambda word: (not word.isascii(), -len(word)))  # the cheap, rare ones first
    yield tuple(has(word) for word in words)


def _exactly(text: str) -> ColumnElement[bool]:
    typed = text.strip()
    key = name_key(typed)
    same = jobs.c.name_key == key if key else false()
    if typed.isascii() and typed.isdecimal() and len(typed) <= LONGEST_ID:
        return or_(same, jobs.c.job_id == int(typed))
    return same


def _has(word: str) -> ColumnElement[bool]:
    """Select the jobs where a word occurs, upper or lower case."""
    # One text and one comparison: each more costs as much again at 100,000 jobs.
    everything = jobs.c.job_number + "\n" + jobs.c.job_name + "\n" + jobs.c.addr1
    return func.lower(everything).like(f"%{escaped(name_key(word))}%", escape=ESCAPE)


def _has_on_sqlite(word: str) -> ColumnElement[bool]:
    """Do ``_has`` where LIKE takes no notice of upper and lower case by itself, in ASCII alone.

    That is twice as quick as ``lower``. Letters outside ASCII are found as typed, or small.
    """
    parts = (jobs.c.job_number, jobs.c.job_name, jobs.c.addr1)
    typed = {word, name_key(word)} if not word.isascii() else {word}
    patterns = [f"%{escaped(each)}%" for each in sorted(typed)]
    return or_(*(part.like(each, escape=ESCAPE) for each in patterns for part in parts))


def counts(conn: Connection, *, now: datetime) -> dict[str, int]:
    """Count the jobs in each state that ``page`` knows; "" are all."""
    by_state = select(links.c.state, func.count()).where(links.c.state.in_(STATES))
    found = {state: int(number) for state, number in conn.execute(by_state.group_by(links.c.state))}
    everything = count(conn, jobs)
    return {
        "": everything,
        ACTIVE: sum(found.values()),
        **{state: found.get(state, 0) for state in STATES},
        INACTIVE: everything - sum(found.values()),
        KEPT: count(conn, keeps, _standing(now)),
    }
