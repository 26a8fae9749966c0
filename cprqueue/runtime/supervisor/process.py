"""One process: start it, hand over its lines and its end, kill all of it.

The two threads of a process only block and call back; they own no state.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from cprqueue.runtime import supervised
from cprqueue.runtime.supervisor.values import Program

_LINE_BYTES = 64 * 1024  # a longer line arrives in pieces
_OUTPUT_PATIENCE_SECONDS = 2.0  # a process outside the group may keep the pipe open


class Process(Protocol):
    """A child of this process, a ``Popen`` or one that a fork server started."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def returncode(self) -> int | Any: ...

    def wait(self) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start ``program`` in a session of its own; it is killed with the calling thread (Linux).

    Its own session keeps a terminal's Ctrl-C away from it, so the order of ending is ours.
    """
    wrapper = (sys.executable, "-I", "-S", supervised.__file__, str(os.getpid()))
    return subprocess.Popen(
        (*wrapper, str(program.lock_path or ""), *program.argv),
        env=program.whole_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def watch(
    process: Process,
    *,
    log_path: Path | None,
    saw_line: Callable[[str], None],
    saw_end: Callable[[], None],
) -> None:
    """Call ``saw_line`` for each line and then, after the last one, ``saw_end`` once.

    Returns at once; both are called from threads. When the process ends, what is left of
    its group is killed first, so that it never meets its own successor.
    """
    reader = threading.Thread(target=_read, args=(process, log_path, saw_line), daemon=True)

    def wait() -> None:
        process.wait()
        kill_group(process.pid)
        reader.join(_OUTPUT_PATIENCE_SECONDS)
        saw_end()
        _reap_group(process.pid)

    reader.start()
    threading.Thread(target=wait, daemon=True).start()


def kill_group(pid: int) -> None:
    """Kill a program and all its descendants that stayed in its group; none left is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _reap_group(pid: int) -> None:
    """Let those of a group that became our children, as orphans, be gone from the table."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)


def cause_of_death(returncode: int) -> str:
    """Describe a return code of ``Popen`` in words: ``exit code 1``, ``signal SIGKILL``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    with contextlib.suppress(ValueError):  # real-time signals have no name
        return f"signal {signal.Signals(-returncode).name}"
    return f"signal {-returncode}"


def _read(process: Process, log_path: Path | None, saw_line: Callable[[str], None]) -> None:
    for raw in _raw_lines(process):
        _append(log_path, raw)
        saw_line(raw.decode(errors="replace").rstrip("\r\n"))


def _raw_lines(process: Process) -> Iterator[bytes]:
    if process.stdout is None:
        return
    with process.stdout as stream:
        yield from iter(partial(stream.readline, _LINE_BYTES), b"")


def _append(path: Path | None, raw: bytes) -> None:
    """Write to the log if there is one; a full disk must not stop a program's output."""
    if path is not None:
        with contextlib.suppress(OSError), path.open("ab") as log:
            log.write(raw)
