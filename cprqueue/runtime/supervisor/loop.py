"""The loop that owns every program's state: it starts, restarts and ends them."""

from __future__ import annotations

import contextlib
import math
import queue
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cprqueue.runtime.supervisor import process as processes
from cprqueue.runtime.supervisor import signals
from cprqueue.runtime.supervisor.starter import Starter
from cprqueue.runtime.supervisor.values import (
    HUNG_STOP_SECONDS,
    STEADY_SECONDS,
    Event,
    Kind,
    Program,
    restart_delay,
)

_BACKLOG_LINES = 50_000  # more than that unread: lines are counted instead of kept


@dataclass(slots=True)
class _Child:
    """One program's life so far; ``process`` is None between two processes."""

    program: Program
    process: processes.Process | None = None
    ready: bool = False
    was_ready: bool = False
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    kill_at: float | None = None  # set by the first request to end; infinite once killed
    left_out: int = 0  # the reading thread's own count


class Supervisor:
    """Keeps ``programs`` running until asked to stop; reports each event to ``on_event``.

    ``on_event`` is called in the thread of ``run``, one event at a time. It may take its
    time, the programs never wait for it; if it raises, everything is killed and ``run``
    raises the same.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        on_event: Callable[[Event], None],
        rng: random.Random | None = None,
        starter: Starter | None = None,
    ) -> None:
        self._children = [_Child(program) for program in programs]
        self._on_event = on_event
        self._rng = rng or random.Random()  # noqa: S311 - spreads restarts, guards nothing
        self._starter = starter or Starter()
        self._actions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._announced = False
        self._stopping = False
        self._killed = False

    def run(self) -> int:
        """Block until all programs have ended after ``stop``, SIGTERM, SIGINT or SIGHUP.

        A second signal kills at once. Returns 0, or 1 if something had to be killed.
        Signals are only caught in the main thread; no other thread may start the programs,
        for they die with the thread that started them.
        """
        with signals.caught(lambda: self._actions.put(self._saw_signal)):
            try:
                for program in (child.program for child in self._children):
                    self._starter.prepare(program)
                while self._advance():
                    self._wait_for_action()
            except BaseException:
                self._kill_everything()
                raise
            finally:
                self._starter.close()
        return int(self._killed)

    def stop(self) -> None:
        """Ask ``run`` to end everything and return; from any thread, any number of times."""
        self._actions.put(self._begin_to_stop)

    def restart(self, name: str, pid: int, reason: str) -> None:
        """End a process that hangs, so that it is started again; from any thread.

        SIGTERM first, SIGKILL some seconds later. Nothing happens where ``pid`` is gone already.
        """
        self._actions.put(partial(self._end_hung, name, pid, reason))

    # What to do now, and how long nothing will be due.

    def _advance(self) -> bool:
        if self._stopping:
            self._end_next_wave()
            return bool(self._alive())
        self._kill_overdue()
        for child in self._due():  # first programs without a ready line ...
            self._start(child)
        for child in self._due():  # ... then the others, without waiting for another event
            self._start(child)
        self._announce()
        return True

    def _wait_for_action(self) -> None:
        deadline = min(self._deadlines(), default=math.inf)
        timeout = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        with contextlib.suppress(queue.Empty):
            self._actions.get(timeout=timeout)()

    def _deadlines(self) -> Iterator[float]:
        if not self._stopping:
            yield from (child.start_at for child in self._startable())
        yield from (child.kill_at for child in self._alive() if child.kill_at is not None)

    def _alive(self) -> list[_Child]:
        return [child for child in self._children if child.process]

    def _startable(self) -> list[_Child]:
        opened = all(child.was_ready for child in self._children if child.program.first)
        return [c for c in self._children if not c.process and (opened or c.program.first)]

    def _due(self) -> list[_Child]:
        now = time.monotonic()
        return [child for child in self._startable() if child.start_at <= now]

    def _announce(self) -> None:
        if not self._announced and all(child.ready for child in self._children):
            self._announced = True
            self._on_event(Event(kind="all_ready"))

    # From start to death.

    def _start(self, child: _Child) -> None:
        child.started_at = time.monotonic()
        try:
            child.process = process = self._starter.start(child.program)
        except OSError as error:
            self._plan_restart(child, None, f"cannot start: {error.strerror}")
            return
        processes.watch(
            process,
            log_path=child.program.log_path,
            saw_line=partial(self._queue_line, child, process),
            saw_end=partial(self._actions.put, partial(self._saw_end, child, process)),
        )
        self._emit("started", child, process.pid)
        if child.program.ready_line is None:
            self._mark_ready(child, process.pid)

    def _mark_ready(self, child: _Child, pid: int) -> None:
        child.ready = child.was_ready = True
        self._emit("ready", child, pid)
        if all(child.ready for child in self._children):
            self._starter.close()  # what only it still holds is memory for nothing

    def _saw_line(self, child: _Child, process: processes.Process, line: str) -> None:
        self._emit("output", child, process.pid, line)
        if not child.ready and _says_ready(child.program, line):
            self._mark_ready(child, process.pid)

    def _saw_end(self, child: _Child, process: processes.Process) -> None:
        self._emit_left_out(child, process)
        child.process, child.ready, child.kill_at = None, False, None
        cause = processes.cause_of_death(process.returncode)
        if self._stopping:
            self._emit("stopped", child, process.pid, cause)
        else:
            self._plan_restart(child, process.pid, cause)

    def _plan_restart(self, child: _Child, pid: int | None, cause: str) -> None:
        uptime = time.monotonic() - child.started_at
        delay = restart_delay(child.failures, uptime, self._rng)
        child.failures = 1 if uptime >= STEADY_SECONDS else child.failures + 1
        self._emit("died", child, pid, cause)
        child.start_at = time.monotonic() + delay
        event = Event(kind="restarting", program=child.program.name, delay_seconds=delay)
        self._on_event(event)

    def _emit(self, kind: Kind, child: _Child, pid: int | None, detail: str = "") -> None:
        event = Event(
            kind=kind, program=child.program.name, pid=pid, detail=detail, failures=child.failures
        )
        self._on_event(event)

    def _end_hung(self, name: str, pid: int, reason: str) -> None:
        for child in self._alive():
            is_it = child.program.name == name and child.process and child.process.pid == pid
            if is_it and child.kill_at is None and child.process:
                self._emit("hung", child, pid, reason)
                child.process.send_signal(child.program.stop_signal)
                child.kill_at = time.monotonic() + HUNG_STOP_SECONDS

    def _kill_overdue(self) -> None:
        for child in self._alive():
            if child.kill_at is not None and child.kill_at <= time.monotonic() and child.process:
                processes.kill_group(child.process.pid)
                child.kill_at = math.inf

    # The end of everything.

    def _begin_to_stop(self) -> None:
        self._stopping = True

    def _saw_signal(self) -> None:
        if self._stopping:
            for child in self._alive():
                self._kill(child)
        self._stopping = True

    def _end_next_wave(self) -> None:
        alive = self._alive()
        for child in [c for c in alive if not c.program.first] or alive:
            if child.kill_at is None and child.process:
                child.process.send_signal(child.program.stop_signal)
                child.kill_at = time.monotonic() + child.program.stop_seconds
            elif child.kill_at is not None and child.kill_at <= time.monotonic():
                self._kill(child)

    def _kill(self, child: _Child) -> None:
        if child.process:
            processes.kill_group(child.process.pid)
        child.kill_at = math.inf
        self._killed = True

    def _kill_everything(self) -> None:
        for child in self._alive():
            self._kill(child)
        for child in self._alive():
            if child.process:
                child.process.wait()

    def _queue_line(self, child: _Child, process: processes.Process, line: str) -> None:
        """Called in the reading thread: keep the line for ``on_event``, or count it."""
        if self._actions.qsize() > _BACKLOG_LINES and not _says_ready(child.program, line):
            child.left_out += 1
        else:
            self._actions.put(partial(self._saw_line, child, process, line))

    def _emit_left_out(self, child: _Child, process: processes.Process) -> None:
        if child.left_out:
            line = f"({child.left_out} lines left out: they came faster than they were read)"
            self._emit("output", child, process.pid, line)
        child.left_out = 0


def _says_ready(program: Program, line: str) -> bool:
    return program.ready_line is not None and program.ready_line in line
