"""Wait in the terminal for what the workers do.

A database or a broker that restarts meanwhile is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from cprqueue.bootstrap import application
from cprqueue.cli.console import note
from cprqueue.errors import NoWorkerAnswers, ServiceUnreachable
from cprqueue.services import canaries

T = TypeVar("T")

POLL_SECONDS = 0.2
LONGEST_POLL_SECONDS = 5.0
SHARE = 0.1
"""How much of the time may go into asking: counting many jobs takes long, and slows the work."""

AWAY_SECONDS = 60.0
"""A database or broker that is away for so long is an error."""

CONNECTING_SECONDS = 40.0
"""Longer than a worker waits between two tries to reach its broker: Celery waits up to 30 s."""


def until(read: Callable[[], T | None], *, timeout_seconds: float) -> T | None:
    """Call ``read`` again and again until it returns something; None after the timeout.

    Raises ServiceUnreachable where the database or the broker stays away for AWAY_SECONDS.
    """
    deadline = time.monotonic() + timeout_seconds
    away_since: float | None = None
    while True:
        asked = time.monotonic()
        try:
            found = read()
            if away_since is not None:
                note("it answers again")
            away_since = None
        except ServiceUnreachable as error:
            found = None
            if away_since is None:
                away_since = time.monotonic()
                note(f"{error}: waiting for it")
            elif time.monotonic() - away_since > AWAY_SECONDS:
                raise
        if found is not None or time.monotonic() > deadline:
            return found
        idle = (time.monotonic() - asked) * (1 - SHARE) / SHARE
        time.sleep(min(max(POLL_SECONDS, idle), LONGEST_POLL_SECONDS))  # between two calls


def for_workers(queues: Sequence[str]) -> None:
    """Wait until a worker takes from each of ``queues``: a broker may have restarted just now.

    Raises NoWorkerAnswers at once where no worker was at work lately, else after
    CONNECTING_SECONDS; ServiceUnreachable where the broker itself does not answer.
    """
    from cprqueue.operating import send  # not at the top: it imports Celery

    deadline = time.monotonic() + CONNECTING_SECONDS
    told = False
    while True:
        try:
            return send.require_workers(queues)
        except NoWorkerAnswers as error:
            late = time.monotonic() > deadline
            if late or canaries.worked_seconds_ago(application().db) is None:
                raise
            if not told:
                note(f"{error}: waiting for it")
            told = True
