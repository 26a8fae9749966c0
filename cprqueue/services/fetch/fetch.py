"""Pull the job list out of RM: one run, one file, one message for each job.

What if the process dies
- before the download is complete: a ``.part`` file stays behind, the old file stands, the run
  stays "running". The lock ends by itself; the message comes again and the run starts afresh,
  or the sweep calls it failed.
- between the file and the last message: the same; messages sent twice change nothing.
- after the run is "emitted": whoever looks next (the sweep, or ``sync --wait``) closes it.
The next ``since`` counts only from runs that were recorded to the last message.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from cprqueue.clients.job_list import ANSWER, read_job_list, says_nothing
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.domain.mapping import Unread, read_job, read_unread
from cprqueue.domain.models import Job
from cprqueue.domain.records import RunKind, RunState
from cprqueue.errors import AlreadyDone, AlreadyRunning, CprqueueError, UnreadableAnswer
from cprqueue.services import gates
from cprqueue.services.fetch.closing import close_finished
from cprqueue.services.fetch.unread import note_unread
from cprqueue.store import locks, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

ALL_JOBS = "cpr_all_jobs.json"
CHANGED_JOBS = "cpr_changed_jobs.json"

OVERLAP = timedelta(hours=25)
"""An incremental fetch asks this much further back than the last one looked.

Whether RM reads ModifiedSince as UTC or as local time is not known. A day and an hour is right
either way; jobs that did not change cost one cheap message.
"""

RENEW_EVERY = 500


@dataclass(slots=True, kw_only=True)
class FetchRun:
    """A fetch that holds the lock."""

    run_id: int
    complete: bool
    observed_at: datetime
    since: datetime
    holder: str
    emitted: int = 0
    unread: tuple[Unread, ...] = ()


class Fetch:
    """Fetches from RM. ``var_dir`` is where the answers are kept."""

    def __init__(
        self, db: Database, rm: RestorationManager, var_dir: Path, *, lock_limit: timedelta
    ) -> None:
        self.lock_limit = lock_limit
        self.db = db
        self.rm = rm
        self.var_dir = var_dir

    def request(self, *, complete: bool, requested_by: str) -> int:
        """Put a run on record before its message is sent; return its id.

        A complete one that a person asks for ends the suspension after a remove-all.
        """
        with self.db.begin() as conn:
            if complete:
                gates.lift_suspension(conn)
            return runs.create(
                conn,
                RunKind.FETCH,
                now=clock(conn),
                complete=complete,
                requested_by=requested_by,
            )

    def start(self, run_id: int | None, *, complete: bool, requested_by: str = "beat") -> FetchRun:
        """Take the lock and begin the run (a new one where ``run_id`` is None).

        The first fetch of all is always complete. Raises AlreadyRunning while another fetch
        runs or its messages are still being recorded, and AlreadyDone where this one is over.
        """
        holder = str(uuid.uuid4())
        with self.db.begin() as conn:
            now = clock(conn)
            busy = self._busy(conn, holder, now)
            if not busy:
                run = self._begin(conn, run_id, complete, requested_by, holder, now)
            elif run_id is not None:  # it only waits for its turn, however long that takes
                runs.change(conn, run_id, only_from=(RunState.QUEUED,), touched_at=now)
        if busy:
            raise AlreadyRunning(busy)
        return run

    def _busy(self, conn: Connection, holder: str, now: datetime) -> str:
        """Take the lock, or say who keeps us from a fetch."""
        if not locks.take(conn, locks.FETCH, holder, now=now, limit=self.lock_limit):
            return "another fetch is running"
        close_finished(conn, now=now)
        emitted = runs.newest(conn, RunKind.FETCH, RunState.RECORDING)
        if emitted is None:
            return ""
        locks.release(conn, locks.FETCH, holder)
        return f"run {emitted.run_id} is still being recorded"

    def _begin(
        self,
        conn: Connection,
        run_id: int | None,
        complete: bool,
        requested_by: str,
        holder: str,
        now: datetime,
    ) -> FetchRun:
        if run_id is None:
            run_id = runs.create(conn, RunKind.FETCH, now=now, requested_by=requested_by)
        row = runs.existing(conn, run_id)
        if row.state not in (RunState.QUEUED, RunState.RUNNING):
            raise AlreadyDone(f"run {run_id} has already been through")
        complete = complete or row.complete
        since = None if complete else next_since(conn)
        complete = since is None
        since = since or BEGINNING
        runs.change(
            conn,
            run_id,
            state=RunState.RUNNING,
            complete=complete,
            since=since,
            started_at=now,
            touched_at=now,
            observed_at=now,
            recorded=0,
        )
        return FetchRun(
            run_id=run_id, complete=complete, observed_at=now, since=since, holder=holder
        )

    def messages(self, run: FetchRun) -> Iterator[Job]:
        """Download, check the whole answer, then yield each job once (the last of doubles).

        Raises whatever made the answer unusable; nothing was changed then but the run's note.
        """
        path = self.path(complete=run.complete)
        survey = self.rm.download(
            path,
            since=run.since,
            check=lambda part: self._survey(run, part),
            alive=every(self.lock_limit.total_seconds() / 5, lambda: self._keep_lock(run)),
        )
        self._keep_lock(run)
        for number, job in enumerate(each_last(path, survey), 1):
            yield job
            if number % RENEW_EVERY == 0:
                self._keep_lock(run)

    def path(self, *, complete: bool) -> Path:
        """Return where an answer is kept."""
        return self.var_dir / (ALL_JOBS if complete else CHANGED_JOBS)

    def _survey(self, run: FetchRun, path: Path) -> Survey:
        if not run.complete and says_nothing(path):
            return NOTHING
        survey = survey_file(path)
        run.emitted, run.unread = len(survey.last_index), survey.unread
        require_jobs(survey, complete=run.complete)
        return survey

    def _keep_lock(self, run: FetchRun) -> None:
        with self.db.begin() as conn:
            now = clock(conn)
            if not locks.take(conn, locks.FETCH, run.holder, now=now, limit=self.lock_limit):
                raise AlreadyRunning(f"run {run.run_id} lost its lock to another fetch")
            runs.change(conn, run.run_id, touched_at=now)

    def sent(self, run: FetchRun) -> None:
        """Note that every message is out, and give the lock back."""
        with self.db.begin() as conn:
            now = clock(conn)
            runs.change(
                conn, run.run_id, state=RunState.RECORDING, touched_at=now, emitted=run.emitted
            )
            note_unread(conn, run.run_id, run.unread, complete=run.complete)
            locks.release(conn, locks.FETCH, run.holder)
        log.info("fetch sent", extra={"run_id": run.run_id, "jobs": run.emitted})

    def failed(self, run: FetchRun, error: CprqueueError) -> None:
        """Note why the run failed, and give the lock back."""
        with self.db.begin() as conn:
            now, note = clock(conn), str(error)
            runs.change(conn, run.run_id, state=RunState.FAILED, finished_at=now, note=note)
            locks.release(conn, locks.FETCH, run.holder)

    def close(self) -> bool:
        """Close runs that are recorded to the end or stalled; True while one is still open."""
        with self.db.begin() as conn:
            close_finished(conn, now=clock(conn))
            return runs.newest(conn, RunKind.FETCH, RunState.RECORDING) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one pass over the file found: the last place of each job id, and what is no job."""

    last_index: dict[int, int]
    unread: tuple[Unread, ...] = ()

    @property
    def skipped(self) -> int:
        """How many items could not be read."""
        return len(self.unread)


NOTHING = Survey(last_index={})
"""Of an answer without any list: only an incremental one may be that."""


def survey_file(
    path: Path, name: str = ANSWER, seen: Callable[[int], None] = lambda _items: None
) -> Survey:
    """Read the file once; items that cannot be read are named, not fatal.

    Errors call the file ``name``; ``seen`` is called with the number of items so far.
    """
    last: dict[int, int] = {}
    unread = []
    for index, item in enumerate(read_job_list(path, name)):
        try:
            last[read_job(item).job_id] = index
        except UnreadableAnswer:
            unread.append(read_unread(item, place=index + 1))
        seen(index + 1)
    if unread and not last:
        raise UnreadableAnswer(f"{name} is a list, but holds no jobs")
    return Survey(last_index=last, unread=tuple(unread))


def require_jobs(survey: Survey, *, complete: bool) -> None:
    """Raise UnreadableAnswer for a complete answer without any job: that is never true."""
    if complete and not survey.last_index:
        raise UnreadableAnswer(
            "RestorationManager's complete answer holds no job at all: nothing was changed"
        )


def every(seconds: float, act: Callable[[], None]) -> Callable[[int], None]:
    """Return a function that does ``act`` when called, but not more often than this.

    It takes how far the work has come, and has no use for it.
    """
    last = time.monotonic()

    def maybe(_so_far: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act()

    return maybe


def each_last(path: Path, survey: Survey) -> Iterator[Job]:
    """Yield each job of a surveyed file once: of doubles the last."""
    desired = set(survey.last_index.values())
    for index, item in enumerate(read_job_list(path) if desired else ()):
        if index in desired:
            yield read_job(item)


def next_since(conn: Connection) -> datetime | None:
    """Return the ModifiedSince of the next incremental fetch; None while none may be taken."""
    if runs.newest(conn, RunKind.FETCH, RunState.DONE, complete=True) is None:
        return None
    last = runs.newest(conn, RunKind.FETCH, RunState.DONE)
    asked_at = last.observed_at if last else None
    return max(asked_at - OVERLAP, BEGINNING) if asked_at else None
