"""Orders that a person gives: on record first, then sent, so that a lost message loses nothing."""

from __future__ import annotations

from cprqueue.bootstrap import Application


def fetch(app: Application, *, requested_by: str, complete: bool = False) -> int:
    """Have a worker fetch the changed jobs (or all); return the run.

    Raises ServiceUnreachable where the broker is away.
    """
    from cprqueue.operating import send

    app.settings.require_services()
    run_id = app.fetch.request(complete=complete, requested_by=requested_by)
    send.send("cpr.fetch_jobs", full=complete, run_id=run_id)
    return run_id
