"""Snapshot: all of QuickBooks Time's jobcodes and locations into ``qbt_export``, or nothing.

A large account has more pages than one window has calls: the snapshot waits for calls and goes
on with the next page. It is done when its drift is on record. If the process dies before that,
the run stays "running" and its rows are never used; the lock expires and the next snapshot, or
this one when its message comes again, begins afresh.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue import log as logs
from cprqueue.clients.listings import everything
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AccessStopped, AlreadyRunning, CprqueueError, Transient
from cprqueue.services import gates
from cprqueue.services.snapshot import drift
from cprqueue.store import exports, locks, runs
from cprqueue.store.database import Database

log = logging.getLogger(__name__)


LOCK_LIMIT = timedelta(seconds=90)
KEPT = 5
PAUSE_SECONDS = 1.0

Pause = Callable[[float], None]
"""Called with the seconds until a call is free; returns when it is time to try again."""


class Snapshot:
    """Takes snapshots. ``lock_limit``: how long a dead one keeps the others out.

    ``client`` builds one that calls the given pause while the call budget is used up.
    """

    def __init__(
        self,
        db: Database,
        client: Callable[[Pause], QuickBooksTime],
        *,
        lock_limit: timedelta = LOCK_LIMIT,
    ) -> None:
        self.db = db
        self.client = client
        self.lock_limit = lock_limit

    def take(
        self,
        run_id: int | None = None,
        *,
        requested_by: str = "",
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> int:
        """Take a snapshot, for as long as it waits for calls, and return its run id.

        A snapshot that was ordered (``run_id``) is not taken where it is done, or a newer one
        is: then that one's id is returned, and the order is over. ``stop_asked``: whether
        waiting for calls makes no sense any more.

        Raises AlreadyRunning while another one is being taken, and the client's errors; the
        run then holds no rows, and it is failed, or queued if ``run_id`` may be tried again.
        An error that lets nothing in stops the push too.
        """
        done = self._served(run_id)
        if done is not None:
            return done
        busy = "another snapshot is being taken"
        with locks.hold(self.db, locks.SNAPSHOT, limit=self.lock_limit, busy=busy) as renew:
            done = self._served(run_id)  # one may have ended just before
            if done is not None:
                return done
            with self.db.begin() as conn:
                ordered = run_id is not None
                if run_id is None:
                    run_id = runs.create(conn, RunKind.SNAPSHOT, requested_by=requested_by)
                runs.start(conn, run_id, only_from=())
            with logs.bound(run_id=run_id):
                self._fill_or_end(run_id, renew, stop_asked, ordered=ordered)
        return run_id

    def _served(self, run_id: int | None) -> int | None:
        """Return the complete snapshot that is as new as the order, if any; the order is over."""
        if run_id is None:
            return None
        with self.db.begin() as conn:
            newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
            if newest is None or newest.run_id < run_id:
                runs.progress(conn, run_id, only_from=(RunState.QUEUED,))  # waits: it is not lost
                return None
            live = (RunState.QUEUED, RunState.RUNNING)
            note = f"not needed: the snapshot of run {newest.run_id} is newer"
            detail = {"served_by": newest.run_id}
            runs.finish(conn, run_id, RunState.FAILED, only_from=live, note=note, detail=detail)
            return newest.run_id

    def _fill_or_end(
        self,
        run_id: int,
        renew: Callable[[], None],
        stop_asked: Callable[[], bool],
        *,
        ordered: bool,
    ) -> None:
        def alive() -> None:
            renew()
            with self.db.begin() as conn:
                runs.progress(conn, run_id)

        try:
            self._fill(run_id, alive, stop_asked)
        except AlreadyRunning:
            raise  # the lock was lost: whoever has it may be at this very run
        except CprqueueError as error:
            renew()
            self._interrupted(run_id, str(error), again=ordered and isinstance(error, Transient))
            if isinstance(error, AccessStopped):
                gates.stop_push(self.db, error)
            raise
        except BaseException:  # Ctrl-C or the end of the task's time: the next one need not wait
            renew()
            self._interrupted(run_id, "stopped in the middle", again=False)
            raise

    def _fill(self, run_id: int, alive: Callable[[], None], stop_asked: Callable[[], bool]) -> None:
        qbt = self.client(self._patience(alive, stop_asked))
        jobcodes, locations = everything(qbt, alive)
        rows = exports.rows_of(jobcodes, locations)
        with self.db.begin() as conn:
            exports.forget(conn, [run_id])
        for start in range(0, len(rows), exports.WRITE_ROWS):
            with self.db.begin() as conn:
                exports.write(conn, run_id, rows[start : start + exports.WRITE_ROWS])
            alive()
        with self.db.begin() as conn:
            runs.progress(conn, run_id, emitted=len(jobcodes))
        failpoints.point("written_export")
        drifted = drift.find(self.db, run_id, alive)
        failpoints.point("found_drift")
        alive()
        note = f"{len(jobcodes)} jobcodes, {len(locations)} locations, {len(drifted)} drifted"
        with self.db.begin() as conn:
            done, number = RunState.DONE, len(jobcodes)
            detail = {"drifted": len(drifted)}
            runs.finish(conn, run_id, done, note=note, recorded=number, detail=detail)
            self._forget_old(conn)

    def _patience(self, alive: Callable[[], None], stop_asked: Callable[[], bool]) -> Pause:
        longest = min(PAUSE_SECONDS, self.lock_limit.total_seconds() / 4)

        def pause(seconds: float) -> None:
            if stop_asked():
                raise Transient("out of calls, and the worker is ending: it begins afresh later")
            alive()
            time.sleep(min(max(seconds, 0.05), longest))  # until a call is free again

        return pause

    def _interrupted(self, run_id: int, note: str, *, again: bool) -> None:
        with self.db.begin() as conn:
            if again:
                runs.requeue(conn, run_id, note=note)
            else:
                runs.finish(conn, run_id, RunState.FAILED, note=note)
            exports.forget(conn, [run_id])
            self._forget_old(conn)
        if again:
            log.warning("snapshot interrupted", extra={"run_id": run_id, "reason": note})

    def _forget_old(self, conn: Connection) -> None:
        old = runs.newest_few(conn, RunKind.SNAPSHOT, RunState.DONE, limit=1000)[KEPT:]
        failed = runs.newest_few(conn, RunKind.SNAPSHOT, RunState.FAILED, limit=1000)
        exports.forget(conn, [run.run_id for run in [*old, *failed]])


def newest_run_id(db: Database) -> int | None:
    """Return the newest complete snapshot's run, or None."""
    with db.read() as conn:
        run = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    return run.run_id if run else None
