"""A program for a fork server: it says what it is, and waits for its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

preloaded_by = 0


def preload() -> None:
    """Note which process did it; fail where the test wants that."""
    global preloaded_by
    if "NO_PRELOAD" in os.environ:
        raise RuntimeError("nothing is preloaded")
    preloaded_by = os.getpid()


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
