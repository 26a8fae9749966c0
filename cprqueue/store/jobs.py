"""Table ``jobs``: every known RM job, and the rule that made it active or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from cprqueue.domain.models import Address, Job, name_key
from cprqueue.domain.naming import Claimant
from cprqueue.domain.records import JobRecord
from cprqueue.domain.states import Intent, LinkState
from cprqueue.store.chunks import chunks
from cprqueue.store.patterns import ESCAPE, escaped
from cprqueue.store.tables import jobs, links


def get(conn: Connection, job_id: int) -> JobRecord | None:
    """Return the job, or None."""
    row = conn.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().first()
    return JobRecord.from_row(row) if row else None


def existing(conn: Connection, job_id: int) -> JobRecord:
    """Return a job that is on record: jobs are never deleted."""
    row = conn.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().one()
    return JobRecord.from_row(row)


def read_back(row: JobRecord) -> Job:
    """Rebuild the job from its row."""
    return Job(
        job_id=row.job_id,
        job_number=row.job_number,
        job_name=row.job_name,
        site_id=row.site_id,
        status=row.status,
        progress=row.progress,
        address=Address(row.addr1, row.addr2, row.city, row.state, row.zip),
    )


def find(conn: Connection, text: str, *, limit: int = 20) -> list[JobRecord]:
    """Find jobs by id, number, name or part of the street; exact hits alone if there are any."""
    key = name_key(text)
    exact = jobs.c.name_key == key
    if text.strip().isdecimal() and len(text.strip()) < 19:
        exact = or_(exact, jobs.c.job_id == int(text))
    found = _found(conn, exact, limit)
    if found or not key:
        return found
    like, as_typed = f"%{escaped(key)}%", f"%{escaped(text.strip())}%"
    parts = (jobs.c.name_key, func.lower(jobs.c.job_name), func.lower(jobs.c.addr1))
    anywhere = or_(
        *(part.like(like, escape=ESCAPE) for part in parts),
        # SQLite's lower() leaves letters outside ASCII as they are.
        *(part.like(as_typed, escape=ESCAPE) for part in (jobs.c.job_name, jobs.c.addr1)),
    )
    return _found(conn, anywhere, limit)


def _found(conn: Connection, where: ColumnElement[bool], limit: int) -> list[JobRecord]:
    statement = select(jobs).where(where).order_by(jobs.c.job_id).limit(limit)
    return [JobRecord.from_row(row) for row in conn.execute(statement).mappings()]


def ids_of_number(conn: Connection, number: str) -> list[int]:
    """Return the ids of all jobs with this number, as QuickBooks Time might compare."""
    statement = select(jobs.c.job_id).where(jobs.c.name_key == name_key(number))
    return list(conn.execute(statement.order_by(jobs.c.job_id)).scalars())


def claimants(conn: Connection, keys: Sequence[str]) -> list[Claimant]:
    """Return every job that desires one of ``keys`` as its name, or whose jobcode has it.

    Names are compared again in Python: a database may call more of them equal than we do.
    """
    statement = select(
        jobs.c.job_id,
        jobs.c.job_number,
        jobs.c.name_key,
        jobs.c.active,
        jobs.c.first_run_id,
        links.c.observed_key,
        links.c.jobcode_id,
        links.c.intent,
        links.c.state,
    )
    own = jobs.c.job_id == links.c.job_id
    desires = statement.select_from(jobs.outerjoin(links, own)).where(jobs.c.active)
    has = statement.select_from(links.join(jobs, own))
    found: dict[int, Claimant] = {}
    for part in chunks(keys):
        # Each by its own index: for both at once every database reads the whole table.
        for wanted in (
            desires.where(jobs.c.name_key.in_(part)),
            has.where(links.c.observed_key.in_(part)),
        ):
            found |= {row.job_id: _claimant(row) for row in conn.execute(wanted)}
    return list(found.values())


def _claimant(row: Row[*tuple[Any, ...]]) -> Claimant:
    return Claimant(
        job_id=row.job_id,
        label=f"RM job {row.job_id} ({row.job_number})",
        desired_key=row.name_key if row.active else "",
        observed_key=row.observed_key or "",
        jobcode_id=row.jobcode_id,
        creating=row.intent is Intent.CREATE_JOBCODE,
        parked=row.state is LinkState.PARKED,
        seniority=(row.first_run_id, row.job_id),
    )


def mark_vanished(
    conn: Connection, before_run_id: int, *, asking: int, now: datetime, rule: str
) -> dict[int, str]:
    """Make inactive what no complete fetch since ``before_run_id`` has shown.

    Returns their ids, each with the key of the number that it leaves to others. ``asking``
    is the number of the last of the fetches: nothing older brings the jobs back, and what was
    seen later, by a resync, has not vanished. ``rule`` must be one that no other call has named.
    """
    gone = and_(
        jobs.c.active,
        jobs.c.complete_run_id < before_run_id,
        jobs.c.seen_run_id < before_run_id,
        jobs.c.sighting <= asking,
    )
    values = {"active": False, "rule": rule, "content_hash": "vanished", "recorded_at": now}
    found: dict[int, str] = {}
    for part in chunks(conn.execute(select(jobs.c.job_id).where(gone)).scalars()):
        these = jobs.c.job_id.in_(part)
        # Again with ``gone``: a resync may have recorded one of them since the SELECT.
        conn.execute(update(jobs).where(these, gone).values(sighting=asking, **values))
        marked = select(jobs.c.job_id, jobs.c.name_key).where(these, jobs.c.rule == rule)
        found.update((row.job_id, row.name_key) for row in conn.execute(marked))
    return found


def mark_seen(conn: Connection, run_id: int, ids: Iterable[int], keys: Iterable[str]) -> set[str]:
    """Note that a complete fetch has shown the jobs with these ids or name keys.

    Nothing else of them changes. Returns those of ``keys`` that a job has.
    """
    everything = sorted(keys)
    found: set[str] = set()
    chosen = [jobs.c.job_id.in_(part) for part in chunks(sorted(ids))]
    for part in chunks(everything):
        these = jobs.c.name_key.in_(part)
        found.update(conn.execute(select(jobs.c.name_key).where(these)).scalars())
        chosen.append(these)
    for these in chosen:
        older = jobs.c.complete_run_id < run_id
        conn.execute(update(jobs).where(these, older).values(complete_run_id=run_id))
    return found & set(everything)


def active_progress_values(conn: Connection) -> list[str]:
    """Return the progress values of active jobs, each once."""
    return list(conn.execute(select(jobs.c.progress).where(jobs.c.active).distinct()).scalars())
