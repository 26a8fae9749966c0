"""Snapshot: all of QuickBooks Time's jobcodes and locations into ``qbt_export``, or nothing.

A large account has more pages than one window has calls: the snapshot waits for calls and goes
on with the next page. If the process dies, the run stays "running" and its rows are never used;
the lock ends by itself and the next snapshot starts afresh.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Unpack

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue import log as logs
from cprqueue.clients.listings import read_all
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.mapping import read_jobcode, read_location
from cprqueue.domain.records import RunKind, RunState
from cprqueue.errors import AlreadyRunning, CprqueueError, Transient
from cprqueue.store import exports, locks, runs
from cprqueue.store.database import Database, clock

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
        """
        ordered = run_id is not None
        holder = str(uuid.uuid4())
        with self.db.begin() as conn:
            done = self._begin(conn, run_id, holder)
            if done is not None:
                return done
            if run_id is None:
                run_id = runs.create(
                    conn, RunKind.SNAPSHOT, now=clock(conn), requested_by=requested_by
                )
            now = clock(conn)
            runs.change(conn, run_id, state=RunState.RUNNING, started_at=now, touched_at=now)
        try:
            with logs.bound(run_id=run_id):
                self._fill(run_id, holder, stop_asked)
        except CprqueueError as error:
            again = ordered and isinstance(error, Transient)
            state = RunState.QUEUED if again else RunState.FAILED
            self._end(run_id, holder, state=state, note=str(error))
            raise
        except BaseException:  # Ctrl-C or the end of the task's time: the next one need not wait
            self._end(run_id, holder, state=RunState.FAILED, note="stopped in the middle")
            raise
        return run_id

    def _begin(self, conn: Connection, run_id: int | None, holder: str) -> int | None:
        """Take the lock; or return the newest complete snapshot where the order is served."""
        held = locks.take(conn, locks.SNAPSHOT, holder, now=clock(conn), limit=self.lock_limit)
        # After the lock: nobody ends one now.
        newest = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
        if run_id is not None and newest is not None and newest.run_id >= run_id:
            locks.release(conn, locks.SNAPSHOT, holder)
            note = f"not needed: the snapshot of run {newest.run_id} is newer"
            live, now = (RunState.QUEUED, RunState.RUNNING), clock(conn)
            state = RunState.FAILED
            runs.change(conn, run_id, only_from=live, state=state, finished_at=now, note=note)
            return newest.run_id
        if not held:
            raise AlreadyRunning("another snapshot is being taken")
        return None

    def _fill(self, run_id: int, holder: str, stop_asked: Callable[[], bool]) -> None:
        alive = self._prolong(run_id, holder)
        qbt = self.client(self._patience(alive, stop_asked))
        both = {"active": "both"}
        jobcodes = read_all(qbt, "jobcodes", read_jobcode, {**both, "type": "all"}, alive)
        locations = read_all(qbt, "locations", read_location, both, alive)
        rows = exports.rows_of(jobcodes, locations)
        with self.db.begin() as conn:
            exports.forget(conn, [run_id])
        for start in range(0, len(rows), exports.WRITE_ROWS):
            with self.db.begin() as conn:
                exports.write(conn, run_id, rows[start : start + exports.WRITE_ROWS])
            alive()
        failpoints.point("written_export")
        note = f"{len(jobcodes)} jobcodes, {len(locations)} locations"
        self._end(run_id, holder, state=RunState.DONE, note=note, emitted=len(jobcodes))

    def _prolong(self, run_id: int, holder: str) -> Callable[[], None]:
        def prolong() -> None:
            with self.db.begin() as conn:
                now = clock(conn)
                if not locks.take(conn, locks.SNAPSHOT, holder, now=now, limit=self.lock_limit):
                    raise AlreadyRunning("this snapshot lost its lock to another one")
                runs.change(conn, run_id, touched_at=now)

        return prolong

    def _patience(self, alive: Callable[[], None], stop_asked: Callable[[], bool]) -> Pause:
        longest = min(PAUSE_SECONDS, self.lock_limit.total_seconds() / 4)

        def pause(seconds: float) -> None:
            if stop_asked():
                raise Transient("out of calls, and the worker is ending: it begins again later")
            alive()
            time.sleep(min(max(seconds, 0.05), longest))  # until a call is free again

        return pause

    def _end(self, run_id: int, holder: str, **values: Unpack[runs.RunValues]) -> None:
        with self.db.begin() as conn:
            now = clock(conn)
            ended: runs.RunValues = {**values, "finished_at": now, "touched_at": now}
            runs.change(conn, run_id, **ended)
            locks.release(conn, locks.SNAPSHOT, holder)
            self._forget_old(conn)
        if values["state"] == "queued":
            log.warning("snapshot interrupted", extra={"run_id": run_id, "reason": values["note"]})

    def _forget_old(self, conn: Connection) -> None:
        old = runs.newest_few(conn, RunKind.SNAPSHOT, RunState.DONE, limit=1000)[KEPT:]
        failed = runs.newest_few(conn, RunKind.SNAPSHOT, RunState.FAILED, limit=1000)
        exports.forget(conn, [run.run_id for run in [*old, *failed]])


def newest_run_id(db: Database) -> int | None:
    """Return the newest complete snapshot's run, or None."""
    with db.read() as conn:
        run = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    return run.run_id if run else None
