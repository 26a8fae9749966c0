"""What ``up`` prints of the programs that it runs: their lines, deaths and restarts."""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from cprqueue import log, streams
from cprqueue.runtime import programs
from cprqueue.runtime.supervisor import Event

LAST_LINES = 10
BACKLOG_LINES = 10_000  # more than that unread: lines are counted instead of kept
CLOSING_SECONDS = 2.0

_LEVEL = re.compile(r'[-\d]{10} \S+ ([A-Z]+) |\{.*?"level": "([A-Z]+)"')  # how a line begins
_NOISE = (
    programs.READY_LINE,
    programs.WEB_LINE,
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
    be written is lost, and counted: the work goes on. What is too noisy to be shown is kept
    until the program's end: where it dies twice in a row, its last lines are printed.
    """

    def __init__(self, *, as_json: bool, on_all_ready: Callable[[], None]) -> None:
        self._as_json = as_json
        self._on_all_ready = on_all_ready
        self._all_ready = False
        self._flower_warns = False
        self._hidden: dict[str, deque[str]] = {}
        self._writer = _Writer(2, log.lost_as_json if as_json else streams.lost_lines)
        self._out = _Writer(1, streams.lost_lines)

    def __call__(self, event: Event) -> None:
        """Take one event of the supervisor."""
        if event.kind == "output":
            self._pass_on(event.program, event.detail)
        elif event.kind == "hung":
            self.say(f"{event.program} hangs and is ended: {event.detail}")
        elif event.kind == "died":
            self._show_hidden(event)
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
        self._writer.put(log.json_line(text, name=__name__) if self._as_json else text)

    def say_out(self, text: str) -> None:
        """Print a line on standard output, which stops nothing either."""
        self._out.put(text)

    def close(self) -> None:
        """Wait until all is printed, or nobody reads it."""
        self._writer.close()
        self._out.close()

    def _pass_on(self, program: str, line: str) -> None:
        if self._is_shown(program, line):
            self._print(program, line)
        elif line.strip():
            self._hidden.setdefault(program, deque(maxlen=LAST_LINES)).append(line)

    def _is_shown(self, program: str, line: str) -> bool:
        if not line.strip() or any(words in line for words in _NOISE):
            return False
        if program == "flower":
            return self._is_warning(line)
        return program != "broker" or any(words in line for words in _BROKER_SHOWN)

    def _show_hidden(self, event: Event) -> None:
        """Print a program's last lines at its second death in a row, its 4th, its 8th ..."""
        lines = self._hidden.pop(event.program, ())
        if event.failures > 1 and event.failures.bit_count() == 1:
            for line in lines:
                self._print(event.program, line)

    def _print(self, program: str, line: str) -> None:
        line = log.without_password(line)
        if not self._as_json:
            self._writer.put(f"{program:<12}| {line}")
        elif _is_json(line):
            self._writer.put(f'{{"program": "{program}", {line[1:]}')
        else:
            self._writer.put(log.json_line(line, level=logging.WARNING, program=program))

    def _is_warning(self, line: str) -> bool:
        """Tell whether a line is, or continues, a warning: Flower's start takes several lines."""
        found = _LEVEL.match(line)
        if found:
            self._flower_warns = (found[1] or found[2]) not in ("DEBUG", "INFO")
        return self._flower_warns


class _Writer:
    """Prints lines from a thread of its own: a reader who stops reading stops nothing else."""

    def __init__(self, descriptor: int, told: streams.Told) -> None:
        self._stream = streams.Lossy(descriptor, told)
        self._lines: queue.Queue[str | None] = queue.Queue(BACKLOG_LINES)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._stream.lose(1)

    def close(self) -> None:
        with suppress(queue.Full):
            self._lines.put(None, timeout=CLOSING_SECONDS)
            self._thread.join(CLOSING_SECONDS)

    def _write(self) -> None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        while (line := self._lines.get()) is not None:
            self._stream.write(f"{line}\n".encode(encoding, "backslashreplace"))


def _is_json(line: str) -> bool:
    """Tell whether a line is a whole JSON object: a very long one comes in pieces."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
