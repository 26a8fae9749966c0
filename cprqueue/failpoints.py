"""A test hook: end the process with SIGKILL at named points, once at each. Off unless armed.

The tests place a kill at each line between "claimed" and "recorded" with it. In production it
is never armed, and ``point`` costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_KINDS = ("create_jobcode", "change_jobcode", "create_location", "change_location", "archive")
POINTS = frozenset(
    ["claimed", "verified", "written_export", "found_drift", "stored_plan"]
    + [f"{when}_{kind}" for when in ("before", "after", "recorded") for kind in _KINDS]
)
"""Every name that ``point`` is called with."""

_armed: frozenset[str] = frozenset()
_var_dir: Path | None = None


def arm(names: str, var_dir: Path) -> None:
    """Die at the first passage of each of ``names``, in any process that shares ``var_dir``.

    They are separated by commas.
    """
    global _armed, _var_dir
    _armed = frozenset(names.split(",")) - {""}
    _var_dir = var_dir


def point(name: str) -> None:
    """Mark a line at which a test may end the process."""
    if name not in _armed or _var_dir is None:
        return
    try:
        (_var_dir / f"fuse-{name}-spent").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
