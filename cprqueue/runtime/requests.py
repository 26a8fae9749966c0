"""A message in a worker: it waits no longer than its sender meant, whatever their clocks say.

It also carries to the process that runs it what only the worker's main process knows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from celery.worker import request, state

COUNTDOWN = "cpr_countdown"
"""Header with the seconds of the sender's countdown; Celery itself only sends the moment."""

WORKER = "cpr_worker"
"""Key of ``Worker`` among the properties of a task's request; a retry does not send these."""

MOST_REVOKED = 1000


class Worker(TypedDict):
    """What the main process knew when it took the message.

    ``revoked``: ids of tasks that must not run, None where they are too many to hand over.
    ``clock``: its logical time, by which Flower puts events in order.
    """

    events: bool
    revoked: list[str] | None
    clock: int


class Request(request.Request):  # type: ignore[misc]  # Celery ships no types
    """Celery's request, with a moment that is never further ahead than the countdown was."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        sends = self._eventer is not None and self._eventer.enabled
        worker = Worker(events=sends, revoked=_revoked(), clock=self._app.clock.value)
        self._request_dict["properties"] = {**(message.properties or {}), WORKER: worker}

    @property
    def eta(self) -> datetime | None:
        """When the task is to begin; None: now."""
        eta: datetime | None = super().eta
        seconds = self._request_dict.get(COUNTDOWN)
        if eta is None or not isinstance(seconds, int | float):
            return eta
        return min(eta, datetime.now(UTC) + timedelta(seconds=seconds))


def _revoked() -> list[str] | None:
    if state.revoked_stamps or len(state.revoked) > MOST_REVOKED:
        return None
    return [str(task_id) for task_id in state.revoked]
