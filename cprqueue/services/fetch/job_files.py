"""The two steps by hand: RM to a file, and a file to the record.

What if the process dies
- in a fetch: a ``.part`` file stays behind, the old file stands, the lock ends by itself.
- in an import: what was recorded stays, the run is called failed later, and importing the same
  file again does the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from cprqueue.clients.job_list import says_nothing
from cprqueue.clients.rm import BEGINNING
from cprqueue.domain.mapping import ActiveRules
from cprqueue.domain.models import Job, Verdict
from cprqueue.domain.records import Recorded, RunKind, RunState
from cprqueue.errors import AlreadyRunning, CprqueueError, UnreadableAnswer, UsageError
from cprqueue.services.fetch.fetch import (
    NOTHING,
    Fetch,
    Survey,
    each_last,
    every,
    next_since,
    require_jobs,
    survey_file,
)
from cprqueue.services.fetch.unread import describe
from cprqueue.services.record import Sighting, record_in
from cprqueue.store import jobs, locks, runs
from cprqueue.store.database import Database, clock

TOGETHER = 100
"""Jobs in one transaction of an import: short, and much faster than one each."""

Report = Callable[[int], None]
"""Is told how far the work has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a fetch wrote. ``complete``: all jobs, not only those changed since a while."""

    path: Path
    complete: bool
    jobs: int
    unreadable: int


def fetch_file(
    fetch: Fetch, *, full: bool, output: Path | None, loaded: Report, counted: Report
) -> Fetched:
    """Write RM's job list to ``output`` or its usual place; nothing else is changed.

    Raises AlreadyRunning while another fetch runs, and what Pull raises for bad answers.
    """
    with _fetch_lock(fetch) as keep:
        since = None if full else _since(fetch.db)
        path = output or fetch.path(complete=since is None)

        def check(part: Path) -> Survey:
            if since is not None and says_nothing(part):
                return NOTHING
            found = survey_file(part, seen=_both(counted, keep))
            require_jobs(found, complete=since is None)
            return found

        survey = fetch.rm.download(
            path, since=since or BEGINNING, check=check, alive=_both(loaded, keep)
        )
    return Fetched(
        path=path, complete=since is None, jobs=len(survey.last_index), unreadable=survey.skipped
    )


def _both(first: Report, second: Report) -> Report:
    def tell(so_far: int) -> None:
        first(so_far)
        second(so_far)

    return tell


def _since(db: Database) -> datetime | None:
    with db.read() as conn:
        return next_since(conn)


@contextmanager
def _fetch_lock(fetch: Fetch) -> Iterator[Report]:
    """Hold the lock of all fetches; what is given must be called now and then to keep it."""
    holder = str(uuid.uuid4())

    def take() -> None:
        with fetch.db.begin() as conn:
            if not locks.take(conn, locks.FETCH, holder, now=clock(conn), limit=fetch.lock_limit):
                raise AlreadyRunning("another fetch is running: try again when it is done")

    take()
    try:
        yield every(fetch.lock_limit.total_seconds() / 5, take)
    finally:
        with fetch.db.begin() as conn:
            locks.release(conn, locks.FETCH, holder)


@dataclass(slots=True, kw_only=True)
class Imported:
    """What an import did. ``older``: the record is newer than the file and was left alone."""

    run_id: int
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    older: int = 0
    active: int = 0
    inactive: int = 0
    unreadable: int = 0
    due: set[int] = field(default_factory=set)

    @property
    def jobs(self) -> int:
        """How many jobs the file holds."""
        return self.active + self.inactive

    def counts(self) -> dict[str, int]:
        """Return all counts by name."""
        return {**asdict(self), "due": len(self.due)}


class Import:
    """An import of one file: ``open`` it, then ``run``.

    It is a run, but no fetch: it moves no ``since``, nothing vanishes by it, and a record that
    is newer than the file stays as it is.
    """

    def __init__(self, db: Database, rules: ActiveRules) -> None:
        self.db = db
        self.rules = rules

    def open(self, path: Path) -> Survey:
        """Read the whole file once. Raises UsageError, one line, for one that cannot be used."""
        try:
            return survey_file(path, str(path))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
        except UnreadableAnswer as error:
            raise UsageError(f"{error}: nothing was changed") from None

    def run(self, path: Path, survey: Survey, *, recorded: Report) -> Imported:
        """Record every job of the surveyed file."""
        with self.db.begin() as conn:
            now = clock(conn)
            name, running = path.name[:40], RunState.RUNNING
            run_id = runs.create(conn, RunKind.IMPORT, now=now, state=running, requested_by=name)
            moment = min(datetime.fromtimestamp(path.stat().st_mtime, UTC), now)
            runs.change(conn, run_id, started_at=now, observed_at=moment)
        sighting = Sighting(run_id=0, complete=False, observed_at=moment, event_run_id=run_id)
        done = Imported(run_id=run_id, unreadable=survey.skipped)
        try:
            for part in _parts(each_last(path, survey)):
                self._record(done, part, sighting)
                recorded(done.jobs)
        except (CprqueueError, OSError, KeyboardInterrupt) as error:
            self._end(done, RunState.FAILED, str(error) or "stopped by hand")
            raise
        self._end(done, RunState.DONE, describe(survey.unread))
        return done

    def _record(self, done: Imported, part: list[Job], sighting: Sighting) -> None:
        def work(conn: Connection) -> list[tuple[str, Verdict, list[int]]]:
            runs.change(conn, done.run_id, touched_at=clock(conn))
            return [self._one(conn, job, sighting) for job in part]

        for outcome, verdict, due in self.db.retrying(work):
            setattr(done, outcome, getattr(done, outcome) + 1)
            done.active += verdict.active
            done.inactive += not verdict.active
            done.due.update(due)

    def _one(
        self, conn: Connection, job: Job, sighting: Sighting
    ) -> tuple[str, Verdict, list[int]]:
        verdict = self.rules.judge(job)
        outcome = _outcome(jobs.recorded(conn, job.job_id), job, verdict, sighting)
        return outcome, verdict, record_in(conn, self.rules, job, sighting)

    def _end(self, done: Imported, state: RunState, note: str | None) -> None:
        with self.db.begin() as conn:
            runs.set_detail(conn, done.run_id, done.counts())
            runs.change(
                conn,
                done.run_id,
                state=state,
                note=note,
                finished_at=clock(conn),
                emitted=done.jobs,
                recorded=done.new + done.changed + done.unchanged,
                skipped=done.unreadable,
            )


def _parts(items: Iterator[Job]) -> Iterator[list[Job]]:
    while part := list(islice(items, TOGETHER)):
        yield part


def _outcome(row: Recorded | None, job: Job, verdict: Verdict, sighting: Sighting) -> str:
    if row is None:
        return "new"
    if row.observed_at > sighting.observed_at:
        return "older"
    same = row.content_hash == job.content_hash() and row.rule == verdict.rule
    return "unchanged" if same else "changed"
