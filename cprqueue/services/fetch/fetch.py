"""Fetch RM's job list: one run, one file, one message for each job.

What if the process dies
- before the download is complete: a ``.part`` file stays behind, the old file stands, the run
  stays "running". Its lock expires; the message comes again and the run begins afresh, or the
  sweep calls it failed.
- between the file and the last message: the same; messages sent twice change nothing.
- after the run is "recording": the sweep closes it.
The next ``since`` counts only from runs that were recorded to the last message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.clients.job_list import says_nothing
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.domain.mapping import Unread
from cprqueue.domain.models import Job
from cprqueue.domain.push_brake import PushLimits
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import (
    AccessStopped,
    AlreadyDone,
    AlreadyRunning,
    CprqueueError,
    DatabaseUnavailable,
    Refused,
)
from cprqueue.services import gates, push_brake
from cprqueue.services.fetch.closing import close_finished
from cprqueue.services.fetch.survey import NOTHING, Survey, each_last, require_jobs, survey_file
from cprqueue.services.fetch.unread import note_unread
from cprqueue.services.signs import REFUSED
from cprqueue.store import locks, runs, sightings
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

ALL_JOBS = "cpr_all_jobs.json"
CHANGED_JOBS = "cpr_changed_jobs.json"

OVERLAP = timedelta(hours=25)
"""An incremental fetch asks this much further back than the last one did.

Whether RM reads ModifiedSince as UTC or as local time is not known. A day and an hour is right
either way; jobs that did not change cost one cheap message.
"""

RENEW_EVERY = 500
WATCH_SECONDS = 60


@dataclass(slots=True, kw_only=True)
class FetchRun:
    """A fetch that holds the lock; ``alive`` renews it, and is called now and then."""

    run_id: int
    number: int
    complete: bool
    observed_at: datetime
    since: datetime
    alive: Callable[[], None] = lambda: None
    emitted: int = 0
    unread: tuple[Unread, ...] = ()

    def sighting(self) -> dict[str, object]:
        """Return what each job's message says of the fetch, as plain JSON data."""
        return {
            "run_id": self.run_id,
            "number": self.number,
            "complete": self.complete,
            "observed_at": self.observed_at.isoformat(),
        }


class Fetch:
    """Fetches from RM. ``var_dir`` is where the answers are kept."""

    def __init__(
        self,
        db: Database,
        rm: RestorationManager,
        var_dir: Path,
        *,
        lock_limit: timedelta,
        push_limits: PushLimits,
    ) -> None:
        self.push_limits = push_limits
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
            kind = RunKind.FETCH
            return runs.create(conn, kind, complete=complete, requested_by=requested_by)

    @contextmanager
    def running(self, run_id: int | None, *, complete: bool) -> Iterator[FetchRun]:
        """Hold the lock of all fetches for the block, in a run (a new one without ``run_id``).

        At the end of the block its messages are out, and it is "recording"; an error fails it.
        The first fetch of all is always complete, and one after a complete one that failed half
        way, so that the brake on pushes decides on all of it at once. Raises AlreadyRunning while
        another fetch runs or its messages are still being recorded, and AlreadyDone where this one
        is over.
        """
        if run_id is not None:  # it may have to wait for its turn, however long that takes
            with self.db.begin() as conn:
                runs.progress(conn, run_id, only_from=(RunState.QUEUED,))
        busy = "another fetch is running"
        with locks.hold(self.db, locks.FETCH, limit=self.lock_limit, busy=busy) as renew:
            if self.close():
                raise AlreadyRunning("the jobs of another fetch are still being recorded")
            run = self._begin(run_id, complete, renew)
            with logs.bound(run_id=run.run_id):
                try:
                    yield run
                    self._sent(run)
                except (AlreadyRunning, DatabaseUnavailable):
                    # The lock was lost, and whoever has it may be at this very run; or the
                    # database was: the run goes on when its message comes again.
                    raise
                except CprqueueError as error:
                    refused = isinstance(error, AccessStopped | Refused)
                    self._failed(run, str(error), refused=refused)
                    raise
                except Exception as error:
                    # Nobody foresaw it, but whoever waits for the run must hear of its end.
                    name = type(error).__name__
                    self._failed(run, f"unexpected {name}: see the log of the fetch worker")
                    raise

    def _begin(self, run_id: int | None, complete: bool, renew: Callable[[], None]) -> FetchRun:
        begun = self.db.retrying(lambda conn: _start(conn, run_id, complete=complete))

        def alive() -> None:
            renew()
            with self.db.begin() as conn:
                runs.progress(conn, begun.run_id)

        begun.alive = alive
        return begun

    def messages(self, run: FetchRun) -> Iterator[Job]:
        """Download, check the whole answer, then yield each job once (the last of doubles).

        Raises whatever made the answer unusable; nothing was changed then but the run's note.
        """
        path = self.path(complete=run.complete)
        alive = every(self.lock_limit.total_seconds() / 5, run.alive)
        survey = self.rm.download(
            path, since=run.since, check=lambda part: self._survey(run, part, alive), alive=alive
        )
        run.alive()
        for number, job in enumerate(each_last(path, survey), 1):
            yield job
            if number % RENEW_EVERY == 0:
                run.alive()

    def path(self, *, complete: bool) -> Path:
        """Return where an answer is kept."""
        return self.var_dir / (ALL_JOBS if complete else CHANGED_JOBS)

    def _survey(self, run: FetchRun, path: Path, alive: Callable[[int], None]) -> Survey:
        if not run.complete and says_nothing(path):
            return NOTHING
        survey = survey_file(path, seen=alive)
        run.emitted, run.unread = len(survey.last_index), survey.unread
        require_jobs(survey, complete=run.complete)
        return survey

    def _sent(self, run: FetchRun) -> None:
        run.alive()
        with self.db.begin() as conn:
            running, recording = (RunState.RUNNING,), RunState.RECORDING
            runs.progress(conn, run.run_id, only_from=running, state=recording, emitted=run.emitted)
            note_unread(conn, run.run_id, run.unread, complete=run.complete)
        log.info("fetch sent", extra={"jobs": run.emitted})

    def _failed(self, run: FetchRun, note: str, *, refused: bool = False) -> None:
        run.alive()  # or else it is another worker's by now
        with self.db.begin() as conn:
            only_from = (RunState.RUNNING,)
            if refused:
                detail = {**runs.existing(conn, run.run_id).details, REFUSED: True}
                runs.change(conn, run.run_id, only_from=only_from, detail=detail)
            runs.finish(conn, run.run_id, RunState.FAILED, only_from=only_from, note=note)

    def close(self) -> bool:
        """Close runs that are recorded to the end or stalled; True while one is still open."""
        with self.db.begin() as conn:
            close_finished(conn, self.push_limits, now=clock(conn))
            return runs.newest(conn, RunKind.FETCH, RunState.RECORDING) is not None

    def close_when_recorded(self) -> bool:
        """Close the run as soon as it is recorded; False if that takes longer than a minute.

        The sweep closes it then.
        """
        deadline = time.monotonic() + WATCH_SECONDS
        while self.close():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)  # between two counts of what is recorded
        return True


def _start(conn: Connection, run_id: int | None, *, complete: bool) -> FetchRun:
    """Let the run begin (a new one without ``run_id``) as the newest asking of RM."""
    now, number = clock(conn), sightings.next_number(conn)
    if run_id is None:
        run_id = runs.create(conn, RunKind.FETCH, requested_by="beat")
    run = runs.existing(conn, run_id)
    complete = complete or run.complete or push_brake.owes_complete(conn)
    since = None if complete else next_since(conn)
    begun = FetchRun(
        run_id=run_id,
        number=number,
        complete=since is None,
        observed_at=now,
        since=since or BEGINNING,
    )
    if not runs.start(
        conn,
        run_id,
        only_from=(RunState.QUEUED, RunState.RUNNING),
        complete=begun.complete,
        since=begun.since,
        observed_at=now,
        sighting=number,
        recorded=0,
        detail={push_brake.BRAKED: push_brake.applies(conn), **run.details},
    ):
        raise AlreadyDone(f"run {run_id} is over already")
    return begun


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


def next_since(conn: Connection) -> datetime | None:
    """Return the ModifiedSince of the next incremental fetch; None while none may be taken.

    How long ago the last one asked counts, by the earlier of our two clocks: RM has its own.
    """
    if runs.newest(conn, RunKind.FETCH, RunState.DONE, complete=True) is None:
        return None
    last = runs.newest(conn, RunKind.FETCH, RunState.DONE)
    asked_at = last.observed_at if last else None
    if asked_at is None:
        return None
    now = clock(conn)
    return max(min(now, datetime.now(UTC)) - (now - asked_at) - OVERLAP, BEGINNING)
