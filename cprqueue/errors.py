"""Every error that cprqueue raises on purpose.

    CprqueueError
    |-- SettingsError          wrong or missing settings             exit 2
    |-- UsageError             wrong arguments, unknown job or run   exit 2
    |-- Transient              worth trying again by itself          exit 3
    |   |-- ServiceUnreachable no answer: connection, timeout, cut short
    |   |   |-- DatabaseUnavailable  our own database: away, full, damaged, deleted
    |   |   `-- NoWorkerAnswers      the broker is there, the workers asked said nothing
    |   |-- ServiceFailed      an answer that blames the server (5xx), or a gateway's
    |   |-- RateLimited        429
    |   |-- Overtaken          another writer changed the row first
    |   |-- LeaseExpired       our lease is, or is about to be, over: nothing was sent
    |   |-- OutOfCalls         our own call budget has no free slot now
    |   `-- AlreadyRunning     another holder does this right now    exit 1
    |-- AccessStopped          401/402/403/499: nothing is let in    exit 3
    `-- Permanent              trying again changes nothing          exit 1
        |-- Refused            the service refuses this request
        |-- UnreadableAnswer   an answer that is not what it should be
        |-- AlreadyDone        what was ordered is over
        `-- NeedsApproval      a person has to decide first

AccessStopped is neither of the two: no request gets through until a person mends the access,
and then all go on by themselves.

Texts are one plain line: what is wrong, where, and the cure. They never hold
a secret or an address. Each class survives pickling, because Celery's pool
sends exceptions between processes.
"""

from __future__ import annotations


class CprqueueError(Exception):
    """Root of the tree; ``str(error)`` is one line, fit for an operator."""

    exit_code = 1


class SettingsError(CprqueueError):
    """One or more settings are wrong; ``problems`` has one line for each."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class UsageError(CprqueueError):
    """What was asked for does not exist or makes no sense."""

    exit_code = 2


class Transient(CprqueueError):
    """May succeed later without anybody doing anything."""

    exit_code = 3


class ServiceUnreachable(Transient):
    """No complete answer came. The request may or may not have had its effect."""


class DatabaseUnavailable(ServiceUnreachable):
    """Our own database is away, or its file is full, damaged or gone: nothing can be recorded."""


class NoWorkerAnswers(ServiceUnreachable):
    """The broker passed the question on; no worker said that it takes from the queue."""


class ServiceFailed(Transient):
    """The service answered 5xx, or something on the way to it answered in its place.

    The request may or may not have had its effect.
    """


class RateLimited(Transient):
    """The service answered 429; it did nothing.

    ``retry_after_seconds``: what it asks for, if anything; the call budget waits as long.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class Overtaken(Transient):
    """Another writer changed the row between our read and our write: read and decide again."""


class LeaseExpired(Transient):
    """A request was not sent, because the lease that it needs expires too soon: renew it first."""


class OutOfCalls(Transient):
    """The call budget is used up; ``wait_seconds`` until a slot is free again."""

    def __init__(self, message: str, wait_seconds: float) -> None:
        super().__init__(message, wait_seconds)
        self.wait_seconds = wait_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class AlreadyRunning(Transient):
    """Somebody else holds the lock for this work: it may be done, or taken up, once they end."""

    exit_code = 1


class AccessStopped(CprqueueError):
    """The service lets us do nothing at all (401/402/403/499): token, billing, rights, network.

    It says nothing about the request, so it is no Refused. ``status`` is its HTTP status.
    """

    exit_code = 3

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class Permanent(CprqueueError):
    """Stays wrong until a person or the data changes something."""


class Refused(Permanent):
    """The service refused this request; ``status`` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class UnreadableAnswer(Permanent):
    """The service answered, but not with what its documentation promises."""


class AlreadyDone(Permanent):
    """The order has been carried out before, or given up: nothing is left to do for it."""


class NeedsApproval(Permanent):
    """Safe as it stands, but a person must approve before it goes on."""
