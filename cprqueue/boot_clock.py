"""This machine's clock since boot: nobody can set it, and no suspension stops it."""

from __future__ import annotations

import time
import uuid
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_seconds() -> float:
    """Return the seconds of a clock that goes on while the process or the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def boot_ms() -> int:
    """Return the same in whole milliseconds."""
    return int(boot_seconds() * 1000)


@cache
def boot_id() -> str:
    """Return what all processes share whose ``boot_seconds`` can be compared.

    Where the system does not tell, that is this process with its children.
    """
    try:
        return BOOT_ID.read_text().strip().replace("-", "")[:32]
    except OSError:
        return uuid.uuid4().hex
