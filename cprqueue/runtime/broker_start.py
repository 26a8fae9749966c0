"""Start the embedded broker, and start it empty where its files keep it from coming up.

Run by path, before anything is imported: ``python -I -S broker_start.py DIRECTORY PROGRAM
ARG...``. It replaces itself with PROGRAM.

A broker whose append-only files are damaged (a full or broken disk, a power cut) refuses to
start, and no work would be done. The database is the truth and the sweep sends wake-ups for
whatever is due, so an empty broker loses nothing: after three starts within a minute the files
are put aside, not deleted.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

STARTS = 3
WINDOW_SECONDS = 60.0
KEPT = "appendonlydir"


def put_aside_if_stuck(directory: Path, now: float) -> Path | None:
    """Note this start; after too many in a row put the files aside and return where they are."""
    record = directory / "starts"
    try:
        starts = [float(text) for text in record.read_text().split()]
    except (OSError, ValueError):
        starts = []
    starts = [moment for moment in starts if 0 <= now - moment < WINDOW_SECONDS]
    aside = None
    if len(starts) >= STARTS and (directory / KEPT).exists():
        aside = directory / f"{KEPT}-damaged-{now:.0f}"
        (directory / KEPT).rename(aside)
        starts = []
    with contextlib.suppress(OSError):  # a full disk: then the start is not counted
        record.write_text(" ".join(str(moment) for moment in [*starts, now]))
    return aside


def main() -> None:
    """Note the start and become the broker."""
    directory, *command = sys.argv[1:]
    aside = put_aside_if_stuck(Path(directory), time.time())
    if aside is not None:
        print(f"the broker starts empty; its damaged files are in {aside.name}", flush=True)  # noqa: T201
    os.execv(command[0], command)  # noqa: S606  (it becomes the broker; no shell is wanted)


if __name__ == "__main__":
    main()
