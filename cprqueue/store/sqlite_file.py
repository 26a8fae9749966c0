"""SQLite's file: for this user alone, one and the same as long as a process uses it.

A process that goes on with a file that was deleted or replaced would write into nothing, and
it would go unnoticed. So each use of a connection first checks whether the file is still that one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from cprqueue import private_files
from cprqueue.errors import DatabaseUnavailable, SettingsError

_RESTORE = "restore a backup, as docs/operations.md says"

PUT_BACK = "stop `cprqueue up`, put the file or a backup in its place, and start again"

CURES = {
    "disk is full": "free some space on its disk; the work goes on by itself",
    "disk I/O error": "see to its disk: free some space if it is full",
    "readonly database": "give this user the right to write to the file and its directory",
    "unable to open": "check DATABASE_URL and CPR_VAR_DIR, and the rights on that directory",
    "not a database": f"name another file in DATABASE_URL, or {_RESTORE}",
    "malformed": f"stop everything and {_RESTORE}",
    "no such table": f"its file is a new one or incomplete: stop everything and {_RESTORE}",
}


def cure(reason: str) -> str:
    """Return what to do about what SQLite reported."""
    found = (text for words, text in CURES.items() if words in reason)
    return next(found, "check DATABASE_URL and CPR_VAR_DIR")


def watch(engine: Engine, path: Path) -> None:
    """Make the file where it is missing, and refuse its connections once it is another one.

    Raises SettingsError where the file can be neither made nor used.
    """
    _make_directory(path.parent)
    try:
        first = private_files.make_file(path)
    except IsADirectoryError:
        return  # SQLite itself says what is wrong with it, at the first use
    except OSError as error:
        raise SettingsError(
            f"the database's file {path} cannot be made or written ({error.strerror}): "
            "check CPR_VAR_DIR, DATABASE_URL and the space on its disk"
        ) from None

    @event.listens_for(engine, "do_connect")  # SQLite would make an empty file
    @event.listens_for(engine, "checkout")
    def _raise_if_another(*_: Any) -> None:
        if not _is_same(path, first):
            raise DatabaseUnavailable(
                f"the database's file {path} was deleted or replaced while this was running: "
                f"{PUT_BACK}"
            )


def _is_same(path: Path, first: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), first)
    except OSError:
        return False


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the database's directory {path} cannot be made ({error.strerror}): "
            "check CPR_VAR_DIR and DATABASE_URL"
        ) from None
