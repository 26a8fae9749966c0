"""What ``up`` prints of the programs that it runs: their lines, deaths and restarts."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable

from cprqueue.runtime import programs
from cprqueue.runtime.supervisor import Event

log = logging.getLogger(__name__)

_LEVEL = re.compile(r'[-\d]{10} \S+ ([A-Z]+) |\{.*?"level": "([A-Z]+)"')  # how a line begins
_NOISE = (
    programs.READY_LINE,
    "worker: Warm shutdown",
    "worker: Cold shutdown",  # how the fetch worker ends
    "Hitting Ctrl+C again",
    "Inspect method",  # Flower asks before the workers are there; it asks again
    "Memory overcommit",  # about forks of a large server; ours holds a few messages
    "ready to exit",
)

_BROKER_SHOWN = (" # ", "the broker starts empty")  # how Valkey marks a warning; our own line


class ProgramLog:
    """Prints what happens to standard error, each line with its program's name in front.

    ``as_json``: what programs log as JSON stays JSON, with the name in it. A line that cannot
    be written is lost, and counted: the work goes on.
    """

    def __init__(self, *, as_json: bool, on_all_ready: Callable[[], None]) -> None:
        self._as_json = as_json
        self._on_all_ready = on_all_ready
        self._all_ready = False
        self._flower_warns = False
        self._lost = 0
        log.setLevel(logging.INFO)

    def __call__(self, event: Event) -> None:
        """Take one event of the supervisor."""
        if event.kind == "output":
            self._pass_on(event.program, event.detail)
        elif event.kind == "died":
            self.say(f"{event.program} died: {event.detail}")
        elif event.kind == "restarting":
            self.say(f"{event.program} is started again in {event.delay_seconds or 0:.1f} s")
        elif event.kind == "ready" and self._all_ready:
            self.say(f"{event.program} is back")
        elif event.kind == "all_ready":
            self._all_ready = True
            self._on_all_ready()

    def say(self, text: str) -> None:
        """Print a line of ``up`` itself."""
        if self._as_json:
            log.info(text)
        else:
            self._write(text)

    def _pass_on(self, program: str, line: str) -> None:
        if not line.strip() or any(words in line for words in _NOISE):
            return
        if program == "flower" and not self._is_warning(line):
            return
        if program == "broker" and not any(words in line for words in _BROKER_SHOWN):
            return
        if not self._as_json:
            self._write(f"{program:<12}| {line}")
        elif _is_json(line):
            self._write(f'{{"program": "{program}", {line[1:]}')
        else:
            log.warning("%s", line, extra={"program": program})

    def _write(self, line: str) -> None:
        told = f"{self._lost} lines before this one could not be written\n" if self._lost else ""
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        try:
            text = line if self._as_json else f"{told}{line}"
            os.write(2, f"{text}\n".encode(encoding, "backslashreplace"))
            self._lost = 0
        except OSError:
            self._lost += 1

    def _is_warning(self, line: str) -> bool:
        """Tell whether a line is, or continues, a warning: Flower's start takes several lines."""
        found = _LEVEL.match(line)
        if found:
            self._flower_warns = (found[1] or found[2]) not in ("DEBUG", "INFO")
        return self._flower_warns


def _is_json(line: str) -> bool:
    """Tell whether a line is a whole JSON object: a very long one comes in pieces."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
