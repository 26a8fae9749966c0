"""A value that is made anew at most every few seconds, however many people look at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Keeps what ``make`` returned for ``seconds``.

    Who comes while it is made anew gets the one of before, if that is no older than ``stale``
    seconds, or waits.
    """

    def __init__(self, seconds: float, stale: float = 0) -> None:
        self._seconds, self._stale = seconds, stale
        self._lock = threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self, make: Callable[[], T]) -> T:
        """Return the value; an error is kept for nobody."""
        before = self._made
        usable = before is not None and time.monotonic() - before[0] < self._stale
        if not self._lock.acquire(blocking=not usable) and before is not None:
            return before[1]
        try:
            if self._made is None or time.monotonic() - self._made[0] >= self._seconds:
                self._made = (time.monotonic(), make())
            return self._made[1]
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Let the next one be made anew."""
        with self._lock:
            self._made = None
