"""Tracebacks in files: a log and a terminal get one line that names the file."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def save(text: str, directories: Iterable[Path]) -> str:
    """Write a traceback to a file for this user alone, in the first directory where that works.

    Returns its path. The same way to the same kind of error is one file, however often it is
    gone: the first stays.
    """
    way = "".join(line for line in text.splitlines() if line.startswith("  File "))
    name = f"crash-{hashlib.sha256(way.encode(errors='replace')).hexdigest()[:12]}.txt"
    for directory in directories:
        path = directory / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - a descriptor
                file.write(f"{' '.join(sys.argv)}\n\n{text}")
        except FileExistsError:
            return str(path)
        except OSError:  # a full disk, or a directory that is not there: the next one
            with suppress(OSError):
                path.unlink(missing_ok=True)  # what is cut short would stand for all later ones
            continue
        return str(path)
    return "nothing: no file could be written"
