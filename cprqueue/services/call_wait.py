"""Wait for a free call to QuickBooks Time where somebody waits for the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cprqueue.errors import OutOfCalls
from cprqueue.store import runs
from cprqueue.store.database import Database, clock

TIMEOUT_SECONDS = 120.0
"""How long a resync waits for a free call, where its run does not say."""

ANSWER_SECONDS = 5.0
"""How long before that it gives up, so that whoever waits for it still sees why."""


@dataclass(slots=True)
class CallWait:
    """Waits for free calls until ``deadline`` (time.monotonic), and says so in the run."""

    db: Database
    run_id: int
    deadline: float
    waited: float = 0

    @property
    def text(self) -> str:
        """What to add to a step."""
        return f" (after {self.waited:.0f} s of waiting for a free call)" if self.waited else ""

    def until_called(self, work: Callable[[], bool]) -> bool:
        """Do ``work``, again for as long as it is out of calls and there is time left."""
        while True:
            try:
                return work()
            except OutOfCalls as error:
                pause = min(max(error.wait_seconds, 0.1), 1)
                if time.monotonic() + error.wait_seconds > self.deadline:
                    raise
                with self.db.begin() as conn:
                    note = f"waiting for a free call: the next in {error.wait_seconds:.0f} s"
                    runs.progress(conn, self.run_id, note=note)
                time.sleep(pause)  # others may be quicker, so the next one is asked for again
                self.waited += pause


def wait_for(db: Database, run_id: int) -> CallWait:
    """Wait on behalf of this run, for as long as whoever ordered it does."""
    with db.read() as conn:
        run, now = runs.existing(conn, run_id), clock(conn)
    timeout = run.details.get("timeout_seconds")
    seconds = timeout if isinstance(timeout, int | float) else TIMEOUT_SECONDS
    left = seconds - ANSWER_SECONDS - (now - run.created_at).total_seconds()
    return CallWait(db, run_id, deadline=time.monotonic() + left)
