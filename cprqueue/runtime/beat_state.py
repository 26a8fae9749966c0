"""Celery's own scheduler, which also comes up where its state file is damaged, and goes on where
the clock is set back.

A full disk or a power cut may cut the file short, and then beat would die at each start. The
database knows which month is owed, and the other entries come round again soon, so an empty
file loses nothing: the damaged one is put aside, not deleted, as for the broker's files.
"""

from __future__ import annotations

import contextlib
import dbm
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler

from cprqueue.errors import SettingsError
from cprqueue.runtime import beat_ticks, timetable

log = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # Celery ships no types
    """The scheduler of ``celery -A cprqueue beat`` and of ``cprqueue up``."""

    _store: Any = None

    def setup_schedule(self) -> None:
        """Load the timetable; read the state file, or put it aside and begin with an empty one."""
        try:
            timetable.load(self.app)
        except SettingsError as error:
            print(error, file=sys.stderr)  # noqa: T201  (Celery would log a traceback)
            raise SystemExit(error.exit_code) from None
        opening = Path(f"{self.schedule_filename}-opening")
        if opening.exists():  # the last beat died of the file, in a library that is not Python
            self._put_aside("the last start died of it")
        opening.touch()
        try:
            super().setup_schedule()
        except Exception as error:  # noqa: BLE001  (garbage may raise anything at all)
            self._destroy_open_corrupted_schedule(error)
            super().setup_schedule()
        opening.unlink()

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Send what is due; return the seconds until the next time."""
        self._begin_again_from_now()
        self._note_tick()
        return super().tick(*args, **kwargs)

    def _note_tick(self) -> None:
        """Mark a file with the clock that nobody can set; a full disk has room for that."""
        mark, now = beat_ticks.mark(self.schedule_filename), time.monotonic()
        with contextlib.suppress(OSError):  # then nobody knows, and beat is not judged by it
            mark.touch(mode=0o600)
            os.utime(mark, (now, now))

    def _begin_again_from_now(self) -> None:
        """Let entries that ran "later than now" count from now: the clock was set back.

        Or else each would wait until the clock has come to where it was.
        """
        for entry in self.schedule.values():
            if entry.last_run_at and entry.last_run_at > (now := entry.default_now()):
                entry.last_run_at, self._heap = now, None  # and the next times are made anew

    def sync(self) -> None:
        """Write the state file; a full disk must not end the timetable."""
        try:
            super().sync()
        except (OSError, *dbm.error) as error:
            log.error("beat's state cannot be written", extra={"reason": str(error)})

    def _destroy_open_corrupted_schedule(self, exc: Exception) -> Any:
        if self._store is not None:
            self._store.cache.clear()  # or it is written into the damaged file at the end
            with contextlib.suppress(Exception):
                self._store.close()
        self._put_aside(f"{type(exc).__name__}: {exc}")
        self._store = self._open_schedule()
        return self._store

    def _put_aside(self, reason: str) -> None:
        aside = f"{self.schedule_filename}-damaged-{time.time():.0f}"
        for suffix in self.known_suffixes:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.schedule_filename}{suffix}").rename(f"{aside}{suffix}")
        fields = {"reason": reason, "kept_as": aside}
        log.warning("beat begins afresh: its state file was damaged", extra=fields)
