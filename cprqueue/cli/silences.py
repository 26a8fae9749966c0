"""``up`` restarts its broker where that does not answer, and beat where that does not tick.

Both are alive then, and do nothing: stopped, or waiting for a disk that never answers. Either may
be ended at any time: what the broker forgets the sweep sends again, and beat keeps its state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from cprqueue.runtime import beat_ticks, broker
from cprqueue.runtime.supervisor import Event

MISSES = 3
BROKER, BEAT = "broker", "beat"


@dataclass(slots=True)
class Silences:
    """What is known of the broker and beat of one ``up``; ``take`` gets the supervisor's events.

    One that is not ready yet is not judged: a broker may read its files for long.
    """

    var_dir: Path
    tick_seconds: float
    _ready: dict[str, int] = field(default_factory=dict)
    _missed: dict[str, int] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Learn which processes there are."""
        if event.program not in (BROKER, BEAT):
            return
        if event.kind == "ready" and event.pid:
            self._ready[event.program], self._missed[event.program] = event.pid, 0
        elif event.kind in ("hung", "died", "stopped"):
            self._ready.pop(event.program, None)

    def judge(self, patience_seconds: float, *, delivers: bool) -> list[tuple[str, int, str]]:
        """Return the programs that hang: name, process id, and why.

        ``delivers``: the broker answered in this round. Without it beat waits too, and is not
        judged.
        """
        found = []
        if delivers:
            self._missed[BROKER] = 0
        elif self._misses(BROKER, broker.is_silent(self.var_dir, patience_seconds)):
            found.append((BROKER, "it takes connections, and answers none"))
        age = beat_ticks.tick_age(self.var_dir, time.monotonic())
        if delivers and self._misses(BEAT, age > MISSES * self.tick_seconds):
            found.append((BEAT, f"it has not looked at the timetable for {age:.0f} s"))
        gone = ((name, self._ready.pop(name, None), reason) for name, reason in found)
        return [(name, pid, reason) for name, pid, reason in gone if pid]  # ``take`` may be first

    def _misses(self, name: str, silent: bool) -> bool:
        """Count one round more; tell whether it was silent in too many in a row."""
        if name not in self._ready:
            return False
        self._missed[name] = self._missed[name] + 1 if silent else 0
        return self._missed[name] >= MISSES
