"""Read a small file whole: one without an end, or a pipe that nobody fills, is an error."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

PATIENCE_SECONDS = 5.0
"""A program that hands its secrets over through a pipe may ask a person first; but not for long."""

PIECE_BYTES = 64 * 1024


def read(path: Path, most_bytes: int) -> bytes:
    """Return what the file holds. Raises OSError, also where it is larger, or nothing comes."""
    until = time.monotonic() + PATIENCE_SECONDS
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = b""
        while piece := _piece(descriptor, until):
            found += piece
            if len(found) > most_bytes:
                raise OSError(errno.EFBIG, f"it is larger than {most_bytes // 1024} kB")
        return found
    finally:
        os.close(descriptor)


def _piece(descriptor: int, until: float) -> bytes:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    if not waiting.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError(errno.ETIMEDOUT, f"nothing comes out of it in {PATIENCE_SECONDS:g} s")
    return os.read(descriptor, PIECE_BYTES)
