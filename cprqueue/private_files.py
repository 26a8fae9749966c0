"""Directories and files for this user alone: they hold tokens, names and addresses.

What an older version made wider is narrowed. A directory in which other users keep files
too is left as it is.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_OTHERS = 0o077
PROBE_BYTES = 64 * 1024
LITTLE_BYTES = 2**30
_OUR_FILES = re.compile(
    r"beat|broker|flower.*|cprqueue\.db.*|cpr_(all|changed)_jobs.*|lock|schedule.*|failpoint-.*|crash-.*|web-.*"
)


def keep_new_files_private() -> None:
    """Let this process, and what it starts, make files and directories for its user alone."""
    os.umask(_OTHERS)


def make_directory(path: Path) -> None:
    """Make the directory, or narrow one that holds only our files. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid == os.getuid() and found.st_mode & _OTHERS and _is_ours_alone(path):
        _narrow(path, found.st_mode)
    _raise_unless(path, os.W_OK | os.X_OK)


def make_file(path: Path) -> os.stat_result:
    """Make the file unless it is there, narrow one that others may read; return its state.

    One that is there is never opened: closing it again would drop the locks that SQLite in this
    process holds on it, and other processes would then take its journal away. Raises OSError.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _raise_unless(path, os.R_OK | os.W_OK)
    if found.st_uid == os.getuid() and found.st_mode & _OTHERS and stat.S_ISREG(found.st_mode):
        _narrow(path, found.st_mode)
    return found


def _raise_unless(path: Path, may: int) -> None:
    """Raise OSError where this user may not: a disk with faults is often made read-only."""
    if not os.access(path, may):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number))


def raise_if_full(directory: Path) -> None:
    """Raise OSError where not even a small file can be written to the disk of ``directory``."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())


def nearly_full(directory: Path) -> str:
    """Return one line about a disk on which little space is left, or ""."""
    try:
        found = shutil.disk_usage(directory)
    except FileNotFoundError:
        return ""  # nothing was ever written there
    if not is_nearly_full(found.total, found.free):
        return ""
    return (
        f"{found.free // 2**20} MB are free on the disk of {directory}: free some space; on a full "
        "disk nothing is recorded or pushed"
    )


def is_nearly_full(total: int, free: int) -> bool:
    """Tell whether so many bytes are little: less than a twentieth, and than a gigabyte."""
    return free < min(total // 20, LITTLE_BYTES)


def _narrow(path: Path, mode: int) -> None:
    path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    log.info(
        "other users of this machine could enter or read it: no more", extra={"path": str(path)}
    )


def _is_ours_alone(path: Path) -> bool:
    return all(_OUR_FILES.fullmatch(entry.name) for entry in path.iterdir())
