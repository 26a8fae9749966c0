"""Wait for a run to end, in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape
from rich.status import Status

from cprqueue.bootstrap import Application
from cprqueue.cli.console import clean, err
from cprqueue.cli.waiting import until
from cprqueue.domain.records import Run
from cprqueue.errors import ServiceUnreachable
from cprqueue.store import runs


def until_ended(
    app: Application,
    run_id: int,
    *,
    what: str,
    timeout_seconds: float,
    words: Callable[[Run], str],
) -> Run:
    """Watch until the run has ended and return its row.

    ``words`` puts the row's progress into words. Raises ServiceUnreachable after
    ``timeout_seconds``, and KeyboardInterrupt; the run itself goes on then.
    """
    spinner = "line" if err.options.ascii_only else "dots"
    with Status(f"{escape(clean(what))} ...", console=err, spinner=spinner) as status:

        def ended() -> Run | None:
            with app.db.read() as conn:
                row = runs.existing(conn, run_id)
            status.update(f"{escape(clean(f'{what}: {words(row)}'))}")
            return row if row.state in runs.ENDED else None

        row = until(ended, timeout_seconds=timeout_seconds)
    if row is None:
        raise ServiceUnreachable(
            f"run {run_id} has not ended after {timeout_seconds:.0f} s; it goes on: "
            "see `cprqueue history`"
        )
    return row
