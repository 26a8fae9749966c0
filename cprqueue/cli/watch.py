"""Wait for a run to end, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.status import Status

from cprqueue.bootstrap import Application
from cprqueue.cli.console import err
from cprqueue.domain.records import Run
from cprqueue.errors import ServiceUnreachable
from cprqueue.store import runs

POLL_SECONDS = 0.2


def until_ended(
    app: Application, run_id: int, *, what: str, timeout_seconds: float, said: Callable[[Run], str]
) -> Run:
    """Watch until the run has ended and return its row.

    ``said`` puts the row's progress into words. Raises ServiceUnreachable after
    ``timeout_seconds``; the run itself goes on then.
    """
    deadline = time.monotonic() + timeout_seconds
    with Status(f"{what} ...", console=err) as status:
        while True:
            with app.db.read() as conn:
                row = runs.existing(conn, run_id)
            if row.state in runs.ENDED:
                return row
            if time.monotonic() > deadline:
                raise ServiceUnreachable(
                    f"run {run_id} has not ended after {timeout_seconds:.0f} s; it goes on: "
                    "see `cprqueue history`"
                )
            status.update(f"{what}: {said(row)}")
            time.sleep(POLL_SECONDS)  # between two looks
