"""Send orders to the workers, and find out whether any worker would take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cprqueue.bootstrap import application
from cprqueue.celery import app
from cprqueue.domain.models import BATCH
from cprqueue.errors import NoWorkerAnswers, ServiceUnreachable
from cprqueue.operating.broker_state import connection, raise_if_blocked
from cprqueue.services import canaries
from cprqueue.services.reports.words import counted

FOR_SYNC = ("fetch", "insert", "upsert")
FOR_FIRST_SYNC = (*FOR_SYNC, "maintenance")  # which takes the first snapshot
ANSWER_SECONDS = 1.0
TRIES = 4
WORKERS_OF_UP = 5  # with as many answers as ``up`` has workers, waiting for more is idle


def send(task: str, **kwargs: object) -> None:
    """Send one order. Raises ServiceUnreachable, in one line, where the broker is away."""
    with connection() as conn:
        app.send_task(task, kwargs=kwargs, connection=conn)


def send_wake_ups(job_ids: Sequence[int]) -> int:
    """Send one wake-up for each batch of these jobs; return how many.

    Raises ServiceUnreachable, which says that the order stands: the sweep sends them then.
    """
    chosen = list(job_ids)[::BATCH]
    try:
        with connection() as conn:
            for job_id in chosen:
                app.send_task("cpr.upsert_job", (job_id,), connection=conn)
    except ServiceUnreachable as error:
        stands = f"{counted(len(job_ids), 'job')} due now, and pushed once workers run"
        raise ServiceUnreachable(f"{stands}: {error}") from None
    return len(chosen)


def require_workers(queues: Iterable[str]) -> None:
    """Raise NoWorkerAnswers unless some worker takes from each of ``queues``.

    Raises ServiceUnreachable where the broker itself does not answer.
    """
    missing = set(queues)
    for attempt in range(TRIES):  # a busy machine may answer late
        missing -= _served(WORKERS_OF_UP if attempt == 0 else None)
        if not missing:
            return
    if missing == set(queues):
        raise NoWorkerAnswers(f"no worker answers: {canaries.cure(application().db)}")
    raise NoWorkerAnswers(
        f"no worker takes from the queue {', '.join(sorted(missing))}: "
        "start `cprqueue up`, or a Celery worker with -Q"
    )


def _served(limit: int | None) -> set[str]:
    """Return the queues of the first ``limit`` workers that answer, or of all."""
    with connection() as conn:
        raise_if_blocked(conn)
        asked = app.control.inspect(timeout=ANSWER_SECONDS, limit=limit, connection=conn)
        answers: dict[str, list[dict[str, Any]]] = asked.active_queues() or {}
    return {str(queue["name"]) for queues in answers.values() for queue in queues}
