"""What tests with real processes share: waiting for a condition, and finding orphans.

A test marks its processes with its own temporary directory: in their environment, their
arguments or their working directory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROC = Path("/proc")


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 20) -> None:
    """Return once ``condition()`` is true; fail if it never is."""
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process if it outlives the block, so that a failed test is no endless one."""
    with process:
        try:
            yield
        finally:
            if process.poll() is None:
                process.kill()


def marked(mark: Path) -> list[int]:
    """Return the ids of all living processes but this one that carry the mark."""
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid() and os.fsencode(mark) in _traces(pid)]


@contextlib.contextmanager
def no_process_left_behind(mark: Path) -> Iterator[None]:
    """Fail if a marked process outlives the block, and kill it in any case."""
    try:
        yield
        wait_until(lambda: not marked(mark), timeout_seconds=5)
    finally:
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _traces(pid: int) -> bytes:
    """Return all that may hold a mark; nothing for a process that is gone or a zombie."""
    traces = b""
    with contextlib.suppress(OSError):
        for name in ("environ", "cmdline"):
            traces += (PROC / str(pid) / name).read_bytes()
        traces += os.fsencode((PROC / str(pid) / "cwd").readlink())
    return traces
