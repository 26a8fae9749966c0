"""Record many RM jobs in one transaction, as far as that gives what one by one would give.

What is new or unchanged is written together. A job that changed is not: what it writes may reach
other jobs (a number that it leaves) or its link, of which a push holds many at once.

If the process dies before the commit, nothing happened and all messages come again. If it dies
after it, what is due is on record, and those messages that come again find nothing to change.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Job
from cprqueue.domain.recording import Change, Sighting, decide
from cprqueue.domain.records import Recorded
from cprqueue.errors import DatabaseUnavailable, Overtaken
from cprqueue.store import job_batches
from cprqueue.store.database import Database

log = logging.getLogger(__name__)

TRIES = 2
"""One that lost a race reads again once; after that each job is recorded by itself."""

ODD_JOB = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a job is good for whose fields are not what they should be."""


class Seen(NamedTuple):
    """A job as one fetch showed it."""

    job: Job
    sighting: Sighting


def record_batch(db: Database, rules: ActiveRules, batch: Sequence[Seen]) -> dict[int, list[int]]:
    """Record what can be recorded together; return what ``record`` would return for each of it.

    By its place in ``batch``. Those that are left out are the caller's to ``record`` one by one,
    in their order, after this. Raises DatabaseUnavailable as ``record`` does, and nothing else:
    where the database refuses one of the jobs, all of them are left out.
    """
    try:
        return db.retrying(lambda conn: _record_in(conn, rules, batch), tries=TRIES)
    except DatabaseUnavailable:
        raise
    except (SQLAlchemyError, Overtaken, *ODD_JOB) as error:  # whose it is, ``record`` says
        log.info("recorded one by one", extra={"jobs": len(batch), "reason": type(error).__name__})
        return {}


def _record_in(conn: Connection, rules: ActiveRules, batch: Sequence[Seen]) -> dict[int, list[int]]:
    first = _first_of_each_job(batch)
    known = job_batches.recorded(conn, [batch[place].job.job_id for place in first])
    plain: dict[int, tuple[Recorded | None, Change]] = {}
    for place in first:
        job, sighting = batch[place]
        was = known.get(job.job_id)
        change = decide(was, job, rules.judge(job), sighting)
        if job_batches.is_plain(was, change):
            plain[place] = was, change
    job_batches.write(conn, list(plain.values()))
    return {place: job_batches.due(change) for place, (_, change) in plain.items()}


def _first_of_each_job(batch: Sequence[Seen]) -> list[int]:
    """Return the places of the first message of each job: the next one goes by what it writes."""
    places: dict[int, int] = {}
    for place, seen in enumerate(batch):
        places.setdefault(seen.job.job_id, place)
    return list(places.values())
