"""What recording a job costs without messages: the database's share of the whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measured import Row
from benchmarks.stage import environment_at
from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.domain.mapping import read_job
from cprqueue.domain.models import Job
from cprqueue.domain.recording import Sighting
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.dataset import make_jobs
from cprqueue.services.record import record
from cprqueue.store import schema


def rows(jobs: int) -> Iterator[Row]:
    """Record all jobs in this process, one transaction each, and then once more."""
    found = [read_job(item) for item in make_jobs(jobs, tricky=False)]
    with tempfile.TemporaryDirectory(prefix="cpr-bench-") as place:
        env = environment_at(Path(place), **environment("http://127.0.0.1:9"))
        app = Application(config.load(env))
        app.settings.make_var_dir()
        schema.upgrade(app.db)
        for number, what in enumerate(("new", "unchanged"), 1):
            name = f"record alone, without messages, {what}, {jobs:,} jobs"
            cost = (_milliseconds(app, found, number),)
            yield Row(part="alone", name=name, unit="CPU ms a job", values=cost)
        app.db.close()


def _milliseconds(app: Application, jobs: list[Job], number: int) -> float:
    sighting = Sighting(run_id=number, number=number, complete=True, observed_at=datetime.now(UTC))
    began = time.process_time()
    for job in jobs:
        record(app.db, app.rules, job, sighting)
    return 1000 * (time.process_time() - began) / len(jobs)
