"""Messages that wait, and are dropped, as their sender meant, whatever the machines' clocks say.

A request also carries to the process that runs it what only the worker's main process knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from celery.worker import request, state

COUNTDOWN = "cpr_countdown"
"""Header with the seconds of the sender's countdown; Celery itself only sends the moment."""

BY_BEAT = "celery_beat_task"
"""Header by which Celery marks what beat sends."""

EXPIRES = "cpr_expires"
"""Header with the seconds in which an order of beat is to be taken, in place of the moment."""


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


def options_of_beat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options to send an order of beat with: the receiver's clock does not decide.

    RabbitMQ drops it by its own clock; what piles up in Redis is dropped by the task.
    """
    headers, seconds = options.get("headers") or {}, options.get("expires")
    if not headers.get(BY_BEAT) or not isinstance(seconds, int | float):
        return dict(options)
    changed = {"headers": {**headers, EXPIRES: seconds}, "expires": None, "expiration": seconds}
    return {**options, **changed}


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
