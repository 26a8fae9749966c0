"""A program for a fork server: it says what it is, and waits for its end."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Sequence

preloaded_by = 0


def preload() -> None:
    """Note which process did it; fail, or leave a fork server that fails, where a test wants it."""
    global preloaded_by
    if "NO_PRELOAD" in os.environ:
        raise RuntimeError("nothing is preloaded")
    preloaded_by = os.getpid()
    if "HANGS" in os.environ:
        time.sleep(600)
    if "NO_ROOM" in os.environ:
        os.register_at_fork(after_in_child=_have_no_room)


def _have_no_room() -> None:
    """Be a process that may have no child, as where the system allows no more of them."""

    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no room")

    os.fork = refuse


def main(words: Sequence[str]) -> int:
    """Print the words, who preloaded, the parent; end with a number (never up) or on a signal."""
    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(7))
    said = (
        "begins" if words[0].isdecimal() else "is up",
        *words,
        preloaded_by,
        os.getppid(),
        os.environ["OWN"],
        len(sys.argv),
    )
    sys.stdout.write(" ".join(map(str, said)) + "\n")
    if words[0].isdecimal():
        return int(words[0])
    while True:
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
