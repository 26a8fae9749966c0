"""What a person orders for one job; it stands in the job's history with the name."""

from __future__ import annotations

from collections.abc import Sequence

from cprqueue.bootstrap import Application
from cprqueue.domain.records import JobRecord
from cprqueue.domain.states import RunState
from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.operating import send
from cprqueue.services.board import job as job_view
from cprqueue.services.prune import keeps
from cprqueue.services.prune.keeps import Kept
from cprqueue.services.reports import overview
from cprqueue.store import jobs, runs


def resync(app: Application, job_id: int, *, by: str) -> int:
    """Have a worker fetch and push this job now; return the run, whose steps can be watched.

    Raises ServiceUnreachable where no worker would take it, UsageError for an unknown job.
    """
    app.settings.require_services()
    row = _known(app, job_id)
    send.require_workers(["urgent"])
    word = job_view.resync_word(row.job_id, row.job_number)
    run_id = app.resync.request(word)
    job_view.note_order(app.db, job_id, f"sync now, by {by}", run_id=run_id)
    try:
        send.send("cpr.resync_job", job=word, run_id=run_id)
    except ServiceUnreachable as error:
        with app.db.begin() as conn:
            note = f"its message was not sent: {error}"
            runs.finish(conn, run_id, RunState.FAILED, only_from=(RunState.QUEUED,), note=note)
        raise
    return run_id


def retry(app: Application, job_id: int, *, by: str) -> str:
    """Push a parked or waiting job again, now; return what to say of it."""
    _known(app, job_id)
    if not overview.make_due(app.db, [job_id]):
        raise UsageError("this job is neither parked nor due: there is nothing to try again")
    job_view.note_order(app.db, job_id, f"retry, by {by}")
    return f"It is due now{rung([job_id])}."


def keep(app: Application, job_id: int, *, by: str, until: str | None, because: str) -> Kept:
    """Keep the jobcode of a job, ``until`` the end of a day."""
    _known(app, job_id)
    timezone = app.settings.timezone
    [kept] = keeps.keep(
        app.db, [job_id], requested_by=by, until=until, because=because, timezone=timezone
    )
    return kept


def unkeep(app: Application, job_id: int, *, by: str) -> bool:
    """Keep a job no longer; False where it was not kept."""
    _known(app, job_id)
    return bool(keeps.unkeep(app.db, [job_id], requested_by=by))


def rung(job_ids: Sequence[int]) -> str:
    """Wake up the push for these jobs; return why it comes later, to end a sentence, or "".

    What is due is on record: the sweep rings for it once the broker answers.
    """
    try:
        send.send_wake_ups(job_ids)
    except ServiceUnreachable:
        return ", and is pushed once the broker answers again"
    return ""


def _known(app: Application, job_id: int) -> JobRecord:
    with app.db.read() as conn:
        row = jobs.get(conn, job_id)
    if row is None:
        raise UsageError(f"RM job {job_id} is not known")
    return row
