"""The supervisor's input, its events, and its restart delays: values, no state."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0  # who ran this long begins again with a short delay
HUNG_STOP_SECONDS = 5.0  # from SIGTERM to SIGKILL for what hangs

Kind = Literal["started", "ready", "all_ready", "output", "hung", "died", "restarting", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run and when it counts as ready.

    ``env`` is the whole environment (only PYTHONUNBUFFERED is added, so that lines arrive
    when they are written). Without a ``ready_line`` a program is ready once started.
    ``first`` programs are ready before any other starts, and end after all others.
    ``log_path``: every line is also appended there, by name, so that it can be rotated.
    ``lock_path``: the program holds a lock on this file while it lives; if another process
    has it, the program ends at once with one line that names the holder.
    ``forked``: where the system can, it is forked from a process that has imported its module;
    its ``argv`` is then ``(python, "-m", MODULE, WORD, ...)``, and MODULE has ``main`` and
    ``preload``. ``stop_signal`` is what asks it to end.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready_line: str | None = None
    stop_seconds: float = 20
    first: bool = False
    log_path: Path | None = None
    lock_path: Path | None = None
    forked: bool = False
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def whole_env(self) -> dict[str, str]:
        """Return its environment; lines arrive when they are written."""
        return {"PYTHONUNBUFFERED": "1", **self.env}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one program, or (``all_ready``, once) to all.

    ``detail`` is the line for ``output``, and the exit code or signal in words for ``died``
    (unexpectedly) and ``stopped`` (as asked), and the reason for ``hung``. ``delay_seconds`` is
    set for ``restarting``, which announces the restart; ``started`` follows when it happens.
    ``failures``: how often it has died in a row, without a steady minute between.
    """

    kind: Kind
    program: str = ""
    pid: int | None = None
    detail: str = ""
    delay_seconds: float | None = None
    failures: int = 0


def restart_delay(failures: int, uptime_seconds: float, rng: random.Random) -> float:
    """Return the seconds to wait before a restart: exponential backoff with full jitter.

    ``failures`` counts the deaths in a row before this one; it is forgotten after
    STEADY_SECONDS of uptime.
    """
    doublings = 0 if uptime_seconds >= STEADY_SECONDS else min(failures, 10)
    return rng.uniform(0, min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**doublings))
