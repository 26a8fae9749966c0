"""A test hook: die with SIGKILL at a named point, once. Off unless somebody arms it.

The tests place a kill at each line between "claimed" and "recorded" with it. In production it
is never armed, and ``point`` costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_KINDS = ("create_jobcode", "change_jobcode", "create_location", "change_location", "archive")
POINTS = frozenset(
    ["claimed", "looked", "written_export", "stored_plan"]
    + [f"{when}_{kind}" for when in ("before", "after", "recorded") for kind in _KINDS]
)
"""Every name that ``point`` is called with."""

_armed: str | None = None
_spent: Path | None = None


def arm(name: str, var_dir: Path) -> None:
    """Die at the first passage of ``name``, in this or any process that shares ``var_dir``."""
    global _armed, _spent
    _armed = name or None
    _spent = var_dir / f"fuse-{name}-spent"


def point(name: str) -> None:
    """Mark a line where a test may want the process to die."""
    if name != _armed or _spent is None:
        return
    try:
        _spent.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
