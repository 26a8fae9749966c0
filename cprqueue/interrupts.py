"""Ctrl-C while modules are imported: one line, at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = b'{"error": "stopped", "exit": 130}\n'


@contextmanager
def importing() -> Iterator[None]:
    """Let Ctrl-C in the block end the process: nothing was begun.

    As an exception in the middle of an import it might be swallowed.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _stop)
    yield
    signal.signal(signal.SIGINT, before)


def _stop(*_: object) -> None:
    os.write(2, b"error: stopped\n")
    if "--json" in sys.argv[1:]:
        os.write(1, STOPPED)
    os._exit(130)
