"""A fence: the moment until which a lease stands, by a clock that no suspension stops.

The database forgets a lease when its time is up, also while its holder is suspended. The holder
cannot see that without asking, and the answer may be old when it arrives; so each lease comes
with a fence, and a write checks it as the last thing before the request leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cprqueue.boot_clock import boot_seconds
from cprqueue.config import LONGEST_REQUEST
from cprqueue.errors import LeaseExpired


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """``until``: when the lease expires; ``needed``: what one request may take; both in seconds."""

    until: float
    needed: float

    @classmethod
    def of(cls, before: float, lease_time: timedelta) -> Fence:
        """Build the fence of a lease that was renewed after ``before``.

        Half of it must be left where the whole is shorter than the longest request: in tests.
        """
        needed = LONGEST_REQUEST if lease_time > LONGEST_REQUEST else lease_time / 2
        until = before + lease_time.total_seconds()
        return cls(until=until, needed=needed.total_seconds())

    def check(self) -> None:
        """Raise LeaseExpired unless the lease stands for as long as one request may take."""
        if boot_seconds() + self.needed > self.until:
            raise LeaseExpired("the lease expires before this request would end: nothing was sent")


__all__ = ["Fence", "boot_seconds"]
