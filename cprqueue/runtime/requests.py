"""A message in a worker: it waits no longer than its sender meant, whatever their clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery.worker import request

COUNTDOWN = "cpr_countdown"
"""Header with the seconds of the sender's countdown; Celery itself only sends the moment."""


class Request(request.Request):  # type: ignore[misc]  # Celery ships no types
    """Celery's request, with a moment that is never further ahead than the countdown was."""

    @property
    def eta(self) -> datetime | None:
        """When the task is to begin; None: now."""
        eta: datetime | None = super().eta
        seconds = self._request_dict.get(COUNTDOWN)
        if eta is None or not isinstance(seconds, int | float):
            return eta
        return min(eta, datetime.now(UTC) + timedelta(seconds=seconds))
