"""Memory of a fetch: a process of its own does what the fetch worker does, and reads its peak.

Its environment says where the sandbox, the broker and the database are.
"""

from __future__ import annotations

from pathlib import Path

from cprqueue.bootstrap import application
from cprqueue.store import schema
from workers import publish


def peak_mb() -> float:
    """Return this process's peak; getrusage would count what the parent had when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024


def main() -> None:
    """Fetch all jobs and send their messages; print the number of jobs and the peak in MB."""
    app = application()
    schema.upgrade(app.db)
    with app.fetch.running(None, complete=True) as run:
        publish.jobs(app.fetch.messages(run), **run.sighting())
    print(run.emitted, f"{peak_mb():.0f}")


if __name__ == "__main__":
    main()
