"""Turn into a program that cannot outlive its supervisor: set two promises, then exec.

    python supervised.py PARENT_PID LOCK_FILE PROGRAM ARGUMENT...

1. On Linux the kernel is asked (PR_SET_PDEATHSIG) to send SIGKILL as soon as the parent
   is gone, also after a ``kill -9`` of the parent. SIGKILL and not SIGTERM: nothing is left
   that would end a program that lingers, and whatever it was doing is repeated from the
   database. Celery's prefork children ask for the same signal from their own parent, so a
   whole pool goes with it. Other systems (macOS) have no such call: there a killed
   supervisor leaves its programs running, and the lock below shows it at the next start.
2. LOCK_FILE, unless empty, is locked with flock(2) and stays open across exec. So the
   program itself holds the lock: exactly as long as it runs, with nothing to clean up.

The supervisor runs this by its path in isolated mode, so only the standard library is
imported here, and no hook like ``preexec_fn`` runs between fork and exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LOCK_PATIENCE_SECONDS = 5.0  # a holder that was just killed needs a moment to be gone
EXIT_LOCKED = 75  # EX_TEMPFAIL of <sysexits.h>
EXIT_NOT_STARTED = 127  # what a shell says for a program that cannot be started


def take_lock(path: Path, *, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> int | None:
    """Lock ``path`` and return its open descriptor, or None if another process keeps it.

    The lock ends when the last copy of the descriptor is closed. The file is never
    deleted: two processes could then hold locks on two files of one name.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_seconds
    while not _locked(descriptor):
        if time.monotonic() >= until:
            os.close(descriptor)
            return None
        time.sleep(0.05)
    return descriptor


def sign(descriptor: int) -> None:
    """Write this process's id into the lock that it holds, for ``holder``."""
    with contextlib.suppress(OSError):  # a full disk: the lock holds, it only has no name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def holder(path: Path) -> str:
    """Return the process id of whoever holds the lock, as it wrote itself down."""
    return path.read_text(encoding="ascii", errors="replace").strip() or "unknown"


def locked_by(path: Path) -> str:
    """Return one line that names the holder of the lock."""
    return f"another process (pid {holder(path)}) is using {path.parent}; stop it first"


def promise(parent: int, lock: str) -> str:
    """Make both promises for this process; return what is in the way, or ""."""
    _die_with(parent)
    if lock and not _hold_across_exec(Path(lock)):
        return locked_by(Path(lock))
    return ""


def main(arguments: Sequence[str]) -> int:
    """Become the program; returns (an exit code) only if that is not possible."""
    parent, lock, *command = arguments
    if complaint := promise(int(parent), lock):
        return _complain(complaint, EXIT_LOCKED)
    _restore_signals()
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        return _complain(f"cannot start {command[0]}: {error.strerror}", EXIT_NOT_STARTED)


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the request reached the kernel
        sys.exit(EXIT_NOT_STARTED)


def _hold_across_exec(path: Path) -> bool:
    descriptor = take_lock(path)
    if descriptor is None:
        return False
    sign(descriptor)
    os.set_inheritable(descriptor, True)
    return True


def _restore_signals() -> None:
    """Undo what starting Python changed, for exec would pass it on to the program."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _complain(line: str, exit_code: int) -> int:
    sys.stderr.write(line + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
