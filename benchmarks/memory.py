"""Memory of a fetch: a process of its own downloads and reads the list; we read its peak."""

from __future__ import annotations

import resource
import sys
import tempfile

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.sandbox.credentials import environment
from cprqueue.store import schema


def main() -> None:
    """Fetch from the sandbox at argv[1]; print the number of jobs and the peak in MB."""
    with tempfile.TemporaryDirectory() as place:
        app = Application(config.load({**environment(sys.argv[1]), "CPR_VAR_DIR": place}))
        schema.upgrade(app.db)
        run = app.pull.start(None, complete=True)
        number = sum(1 for _ in app.pull.messages(run))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(number, f"{peak_mb:.0f}")


if __name__ == "__main__":
    main()
