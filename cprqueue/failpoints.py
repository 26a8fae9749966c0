"""A test hook: a process kills or suspends itself at named points, once at each. Off by default.

The tests put a failpoint on each line between "claimed" and "recorded". In production none is
armed, and ``point`` costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_KINDS = (
    "create_jobcode",
    "change_jobcode",
    "create_location",
    "change_location",
    "archive",
    "restore",
)
_ENDPOINTS = ("jobcodes", "locations", "jobcode_assignments")
POINTS = frozenset(
    [
        "claimed",
        "verified",
        "before_grant",
        "waking_up",
        "took",
        "taken_along",
        "recorded_batch",
        "ended_batch",
        "acknowledged_batch",
        "written_export",
        "found_drift",
        "read_geocoding",
        "stored_plan",
        "sent_alert",
    ]
    + [f"{when}_{kind}" for when in ("before", "after", "recorded") for kind in _KINDS]
    + [f"sending_{method}_{what}" for method in ("POST", "PUT") for what in _ENDPOINTS]
)
"""Every name that ``point`` is called with."""

SUSPENDING = ":stop"

_armed: dict[str, signal.Signals] = {}
_var_dir: Path | None = None


def arm(names: str, var_dir: Path) -> None:
    """Kill at the first passage of each of ``names``, in any process that shares ``var_dir``.

    They are separated by commas. One that ends in ``:stop`` suspends the process (SIGSTOP).
    """
    global _armed, _var_dir
    found = [name for name in names.split(",") if name]
    _armed = {
        name.removesuffix(SUSPENDING): signal.SIGSTOP
        if name.endswith(SUSPENDING)
        else signal.SIGKILL
        for name in found
    }
    _var_dir = var_dir


def point(name: str) -> None:
    """Mark a line where a test may want the process to be killed or suspended."""
    if name not in _armed or _var_dir is None:
        return
    try:
        (_var_dir / f"failpoint-{name}-spent").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), _armed[name])
