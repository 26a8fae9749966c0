"""Record one RM job: the truth is what this wrote.

If the process dies before the commit, nothing happened and the message comes again. If it
dies after the commit but before the doorbell rings, the job stands there as due and the sweep
rings. Run twice, the second time finds nothing to change.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from cprqueue.domain.mapping import ActiveRules
from cprqueue.domain.models import Desired, Job, Verdict, unnamed_job
from cprqueue.domain.records import Event, LinkState, Recorded
from cprqueue.store import events, jobs, links, push_queue
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

REFUSED = "what RestorationManager sent last cannot be stored: correct the job there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Which fetch showed a job, and when that fetch asked. ``run_id`` 0: no fetch.

    ``event_run_id`` names the run in the job's history where it was no fetch (an import).
    """

    run_id: int
    complete: bool
    observed_at: datetime
    event_run_id: int | None = None


def record(db: Database, rules: ActiveRules, job: Job, sighting: Sighting) -> list[int]:
    """Write the job, the rule that decided, and whether it is due; return whom to ring.

    An older sighting never overwrites a newer one. One short transaction. A job that the
    database refuses for good is noted as seen, so that it holds up nothing but itself.
    """
    try:
        return db.retrying(lambda conn: record_in(conn, rules, job, sighting))
    except DataError:
        log.error("a job cannot be stored", extra={"job_id": job.job_id})
        db.retrying(lambda conn: _note_refused(conn, job.job_id, sighting))
        return []


def _note_refused(conn: Connection, job_id: int, sighting: Sighting) -> None:
    """Leave what is on record as it is: a job is not archived because it cannot be read."""
    row = jobs.recorded(conn, job_id)
    if row is None:
        _add(conn, unnamed_job(job_id), Verdict(active=False, rule=REFUSED), sighting)
        return
    latest = max(row.observed_at, sighting.observed_at)
    jobs.change(conn, row, job_id, {**_seen(row, sighting), "observed_at": latest})
    last = events.of_job(conn, job_id, limit=1)
    if not last or not last[0].text.endswith(REFUSED):
        said = events.event(job_id, "recorded", REFUSED, at=clock(conn), run_id=sighting.run_id)
        events.add(conn, [said])


def record_in(conn: Connection, rules: ActiveRules, job: Job, sighting: Sighting) -> list[int]:
    """Do what ``record`` does, in the caller's transaction.

    Raises Overtaken where somebody else recorded the job at the same moment: ``db.retrying``.
    """
    row = jobs.recorded(conn, job.job_id)
    verdict = rules.judge(job)
    if row is None:
        return _add(conn, job, verdict, sighting)
    seen = _seen(row, sighting)
    if row.observed_at > sighting.observed_at:
        if seen:
            jobs.change(conn, row, job.job_id, seen)
        return []
    same = row.content_hash == job.content_hash() and (row.active, row.rule) == (
        verdict.active,
        verdict.rule,
    )
    if same and _settled(row):
        jobs.change(conn, row, job.job_id, {**seen, "observed_at": sighting.observed_at})
        return []
    return _change(conn, row, job, verdict, sighting, seen)


def _settled(row: Recorded) -> bool:
    return bool(row.state) if row.active else row.state in (None, LinkState.IDLE)


def _seen(row: Recorded, sighting: Sighting) -> dict[str, int]:
    """Return which fetches have shown the job; late messages never turn the numbers back."""
    seen = {}
    if sighting.run_id > row.seen_run_id:
        seen["seen_run_id"] = sighting.run_id
    if sighting.complete and sighting.run_id > row.complete_run_id:
        seen["complete_run_id"] = sighting.run_id
    return seen


def _add(conn: Connection, job: Job, verdict: Verdict, sighting: Sighting) -> list[int]:
    now = clock(conn)
    values = jobs.columns(job, verdict) | {
        "observed_at": sighting.observed_at,
        "recorded_at": now,
        "first_run_id": sighting.run_id,
        "seen_run_id": sighting.run_id,
        "complete_run_id": sighting.run_id if sighting.complete else 0,
    }
    jobs.add(conn, job.job_id, values)
    events.add(conn, [_event(job, f"new: {verdict.rule}", now, sighting)])
    if not verdict.active:
        return []
    push_queue.add(conn, job.job_id, desired(job).digest(), now=now)
    return [job.job_id]


def _change(
    conn: Connection,
    row: Recorded,
    job: Job,
    verdict: Verdict,
    sighting: Sighting,
    seen: dict[str, int],
) -> list[int]:
    now = clock(conn)
    values = jobs.columns(job, verdict)
    said = f"changed: {verdict.rule}"
    events.add(conn, [_event(job, said, now, sighting)])
    moment = {"observed_at": sighting.observed_at, "recorded_at": now}
    jobs.change(conn, row, job.job_id, values | moment | seen)
    ring = _settle_link(conn, row, job, verdict, now)
    left = row.active and (not verdict.active or row.name_key != values["name_key"])
    return ring + (push_queue.requeue_name_conflicts(conn, row.name_key, now=now) if left else [])


def _settle_link(
    conn: Connection, row: Recorded, job: Job, verdict: Verdict, now: datetime
) -> list[int]:
    """Make the job due if QuickBooks Time should now hold something else."""
    if not verdict.active:
        if row.state:
            push_queue.set_idle(conn, [job.job_id])
        return []
    digest = desired(job).digest()
    if row.state is LinkState.IDLE:
        links.assume_archived(conn, job.job_id)
    if row.state is None:
        push_queue.add(conn, job.job_id, digest, now=now)
    elif row.state is LinkState.IDLE or row.desired_hash != digest:
        push_queue.set_due(conn, job.job_id, digest, now=now)
    else:
        return []
    return [job.job_id]


def desired(job: Job) -> Desired:
    """Return what QuickBooks Time should hold for this job while it is active."""
    return Desired(name=job.job_number, address=job.address)


def _event(job: Job, text: str, now: datetime, sighting: Sighting) -> Event:
    run_id = sighting.run_id or sighting.event_run_id
    return events.event(job.job_id, "recorded", text, at=now, run_id=run_id)
