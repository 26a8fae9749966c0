"""The two steps by hand: RM to a file, and a file to the record.

What if the process dies
- in a fetch: a ``.part`` file stays behind, the old file stands, the lock expires.
- in an import: what was recorded stays, the run is called failed later, and importing the same
  file again does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from cprqueue.clients.job_list import says_nothing
from cprqueue.clients.rm import BEGINNING
from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Job
from cprqueue.domain.push_brake import PushLimits
from cprqueue.domain.recording import Change, Sighting, decide
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import CprqueueError, UnreadableAnswer, UsageError
from cprqueue.services import push_brake
from cprqueue.services.fetch.fetch import Fetch, every, next_since
from cprqueue.services.fetch.survey import NOTHING, Survey, each_last, require_jobs, survey_file
from cprqueue.services.fetch.unread import describe
from cprqueue.services.record import record
from cprqueue.store import held_pushes, job_changes, locks, runs, sightings
from cprqueue.store.database import Database, clock

TOGETHER = 100
"""Jobs in one transaction of an import: short, and much faster than one each."""

Report = Callable[[int], None]
"""Called with how far the work has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a fetch wrote. ``complete``: all jobs, not only those changed since a while."""

    path: Path
    complete: bool
    jobs: int
    unreadable: int
    note: str | None

    def as_json(self) -> dict[str, object]:
        """Return what ``fetch --json`` prints."""
        return asdict(self)


def fetch_file(
    fetch: Fetch, *, full: bool, output: Path | None, loaded: Report, counted: Report
) -> Fetched:
    """Write RM's job list to ``output`` or its usual place; nothing else is changed.

    Raises AlreadyRunning while another fetch runs, and what Fetch raises for bad answers.
    """
    busy = "another fetch is running: try again when it is done"
    with locks.hold(fetch.db, locks.FETCH, limit=fetch.lock_limit, busy=busy) as renew:
        keep = every(fetch.lock_limit.total_seconds() / 5, renew)
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
        path=path,
        complete=since is None,
        jobs=len(survey.last_index),
        unreadable=survey.skipped,
        note=describe(survey.unread),
    )


def _both(first: Report, second: Report) -> Report:
    def call_both(so_far: int) -> None:
        first(so_far)
        second(so_far)

    return call_both


def _since(db: Database) -> datetime | None:
    with db.read() as conn:
        return next_since(conn)


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
    held: int = 0
    due: set[int] = field(default_factory=set)
    note: str | None = None

    @property
    def jobs(self) -> int:
        """How many jobs the file holds."""
        return self.active + self.inactive

    def counts(self) -> dict[str, int]:
        """Return all counts by name."""
        counted = asdict(self)
        del counted["note"]
        return {**counted, "due": len(self.due)}

    def as_json(self) -> dict[str, object]:
        """Return what ``import --json`` prints."""
        return {**self.counts(), "jobs": self.jobs, "note": self.note}


class Import:
    """An import of one file: ``open`` it, then ``run``.

    It is a run, but no fetch: it moves no ``since``, nothing vanishes by it, and a record that
    is newer than the file stays as it is.
    """

    def __init__(self, db: Database, rules: ActiveRules, push_limits: PushLimits) -> None:
        self.db = db
        self.rules = rules
        self.push_limits = push_limits

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
            moment = min(datetime.fromtimestamp(path.stat().st_mtime, UTC), clock(conn))
            run_id = runs.create(conn, RunKind.IMPORT, requested_by=path.name)
            braked = push_brake.applies(conn)
            runs.start(conn, run_id, observed_at=moment, detail={push_brake.BRAKED: braked})
            number = sightings.number_at(conn, moment)
        sighting = Sighting(
            run_id=0,
            number=number,
            complete=False,
            observed_at=moment,
            event_run_id=run_id,
            braked=braked,
        )
        done = Imported(run_id=run_id, unreadable=survey.skipped, note=describe(survey.unread))
        try:
            for part in _parts(each_last(path, survey)):
                self._record(done, part, sighting)
                recorded(done.jobs)
        except (CprqueueError, OSError, KeyboardInterrupt) as error:
            self._end(done, RunState.FAILED, str(error) or "stopped by hand")
            raise
        self._end(done, RunState.DONE, done.note)
        return done

    def _record(self, done: Imported, part: list[Job], sighting: Sighting) -> None:
        def work(conn: Connection) -> list[tuple[Change, bool, list[int]]]:
            runs.progress(conn, done.run_id)
            return [self._one(conn, job, sighting) for job in part]

        try:
            found = self.db.retrying(work)
        except DataError:
            if len(part) > 1:  # it is about one of them: the others are not held up
                for job in part:
                    self._record(done, [job], sighting)
            else:  # it is noted as one that cannot be stored
                done.unreadable += 1
                done.due.update(record(self.db, self.rules, part[0], sighting))
            return
        for change, active, due in found:
            setattr(done, change.finding, getattr(done, change.finding) + 1)
            done.active += active
            done.inactive += not active
            done.due.update(due)

    def _one(
        self, conn: Connection, job: Job, sighting: Sighting
    ) -> tuple[Change, bool, list[int]]:
        known, verdict = job_changes.recorded(conn, job.job_id), self.rules.judge(job)
        change = decide(known, job, verdict, sighting)
        return change, verdict.active, job_changes.write(conn, known, change)

    def _end(self, done: Imported, state: RunState, note: str | None) -> None:
        with self.db.begin() as conn:
            before = runs.existing(conn, done.run_id).details
            runs.finish(
                conn,
                done.run_id,
                state,
                note=note,
                detail={**before, **done.counts()},
                emitted=done.jobs,
                recorded=done.new + done.changed + done.unchanged,
                skipped=done.unreadable,
            )
            done.due.update(push_brake.settle(conn, self.push_limits, now=clock(conn)))
            done.held = held_pushes.held_counts(conn).get(done.run_id, 0)


def _parts(items: Iterator[Job]) -> Iterator[list[Job]]:
    while part := list(islice(items, TOGETHER)):
        yield part
