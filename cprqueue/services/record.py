"""Record one RM job: read what is on record, decide what changes, write it.

If the process dies before the commit, nothing happened and the message comes again. If it
dies after the commit but before the wake-ups are sent, the job is due on record and the sweep
sends them. Run twice, the second time finds nothing to change.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Job
from cprqueue.domain.recording import Sighting, decide, decide_refused
from cprqueue.store import events, job_changes
from cprqueue.store.database import Database

log = logging.getLogger(__name__)


def record(db: Database, rules: ActiveRules, job: Job, sighting: Sighting) -> list[int]:
    """Record the job in one short transaction; return the ids of the jobs to wake up for.

    A job that the database refuses for good is noted as seen, so that it holds up nothing but
    itself.
    """
    try:
        return db.retrying(lambda conn: record_in(conn, rules, job, sighting))
    except DataError:
        log.error("a job cannot be stored", extra={"job_id": job.job_id})
        return db.retrying(lambda conn: _record_refused(conn, job.job_id, sighting))


def record_in(conn: Connection, rules: ActiveRules, job: Job, sighting: Sighting) -> list[int]:
    """Do what ``record`` does, in the caller's transaction.

    Raises Overtaken where somebody else recorded the job at the same moment: ``db.retrying``.
    """
    known = job_changes.recorded(conn, job.job_id)
    return job_changes.write(conn, known, decide(known, job, rules.judge(job), sighting))


def _record_refused(conn: Connection, job_id: int, sighting: Sighting) -> list[int]:
    known, last = job_changes.recorded(conn, job_id), events.of_job(conn, job_id, limit=1)
    text = last[0].text if last else ""
    change = decide_refused(known, job_id, sighting, last_event=text)
    return job_changes.write(conn, known, change)
