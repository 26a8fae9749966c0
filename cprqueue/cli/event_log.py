"""What people hear from the programs that run: their own lines, deaths and restarts."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable

from cprqueue.cli.console import note
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

_BROKER_MATTERS = (" # ", "the broker starts empty")  # how Valkey marks a warning; our own line


class EventLog:
    """Tells on standard error what happens, each line with its program's name in front.

    ``as_json``: what programs log as JSON stays JSON, with the name in it.
    """

    def __init__(self, *, as_json: bool, on_all_ready: Callable[[], None]) -> None:
        self._as_json = as_json
        self._on_all_ready = on_all_ready
        self._all_ready = False
        self._flower_matters = False
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
        """Tell something of our own."""
        if self._as_json:
            log.info(text)
        else:
            note(text)

    def _pass_on(self, program: str, line: str) -> None:
        if not line.strip() or any(words in line for words in _NOISE):
            return
        if program == "flower" and not self._flower_says_something(line):
            return
        if program == "broker" and not any(words in line for words in _BROKER_MATTERS):
            return
        if not self._as_json:
            sys.stderr.write(f"{program:<12}| {line}\n")
            sys.stderr.flush()
        elif _is_json(line):
            os.write(2, f'{{"program": "{program}", {line[1:]}\n'.encode())
        else:
            log.warning("%s", line, extra={"program": program})

    def _flower_says_something(self, line: str) -> bool:
        """Leave out its greeting, which goes on over several lines; warnings stay."""
        found = _LEVEL.match(line)
        if found:
            self._flower_matters = (found[1] or found[2]) not in ("DEBUG", "INFO")
        return self._flower_matters


def _is_json(line: str) -> bool:
    """Tell whether a line is a whole JSON object: a very long one comes in pieces."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
