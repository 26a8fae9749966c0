"""An office for tests: the product's services on a real database, against a real sandbox.

No broker and no workers: what the workers would do is called here in their order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.errors import CprqueueError, Transient
from cprqueue.mapping import read_job
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.push import Rung
from cprqueue.services.record import Sighting, record_in
from cprqueue.store import jobs, links, runs, schema
from cprqueue.store.database import clock
from tests.promise import broken

QUICK = {"QBT_RETRY_BASE_SECONDS": "0.005", "CPR_LEASE_SECONDS": "2", "CPR_TESTING": "1"}


def job(job_id: int, number: str, **fields: Any) -> dict[str, Any]:
    """Build one RM job: active, with an address of its own, unless told otherwise."""
    plain = {
        "jobId": job_id,
        "jobJobId": number,
        "jobName": f"Customer {job_id}",
        "siteId": 8,
        "jobStatus": "Active",
        "jobProgress": "Work in Progress",
        "jobAddress1": f"{job_id} Main Street",
        "jobAddress2": "",
        "jobCity": "Boise",
        "jobStateCd": "ID",
        "jobZip": "83702",
    }
    return plain | fields


class Office:
    """The services of one installation."""

    def __init__(self, sandbox: Sandbox, var_dir: Path, **env: str) -> None:
        self.sandbox = sandbox
        self.settings = config.load(
            {**environment(sandbox.url), "CPR_VAR_DIR": str(var_dir), **QUICK, **env}
        )
        self.app = Application(self.settings)
        schema.upgrade(self.app.db)
        self._ordered: int | None = None

    def close(self) -> None:
        """Give back all connections."""
        self.app.db.close()
        self.app.durable_db.close()

    def fetch(self) -> int:
        """Record everything that RM has now, as a complete fetch that is done."""
        with self.app.db.begin() as conn:
            now = clock(conn)
            run_id = runs.create(conn, "fetch", now=now, state="done", complete=True)
            runs.change(conn, run_id, observed_at=now, finished_at=now)
        self.record(self.sandbox.rm.jobs(), run_id)
        return run_id

    def record(self, items: Iterable[dict[str, Any]], run_id: int = 0) -> None:
        """Record these RM jobs."""
        with self.app.db.read() as conn:
            now = clock(conn)
        sighting = Sighting(run_id=run_id, complete=run_id > 0, observed_at=now)
        values = [read_job(item) for item in items]
        for start in range(0, len(values), 500):
            with self.app.db.begin() as conn:
                for value in values[start : start + 500]:
                    record_in(conn, self.app.rules, value, sighting)

    def put(self, *items: dict[str, Any]) -> None:
        """Change jobs in RM, fetch, and push until nothing is due."""
        self.sandbox.rm.put_jobs(items)
        self.fetch()
        self.push()

    def push(self, *, seconds: float = 20) -> list[Rung]:
        """Ring until no job is due any more."""
        rungs, deadline = [], time.monotonic() + seconds
        while self.counts()["due"] and time.monotonic() < deadline:
            rungs.append(self.ring())
            if "stopped" in rungs[-1].said:
                break
        return rungs

    def ring(self) -> Rung:
        """Ring as the workers do: an export that is ordered is taken before the next ring."""
        rung = self.app.push.ring()
        self._ordered = rung.export or self._ordered
        if self._ordered is None:
            return rung
        try:
            self.app.snapshot.take(self._ordered)
        except Transient as error:
            return self.app.push.halted(error)
        except CprqueueError as error:
            self._ordered = None
            return self.app.push.halted(error)
        self._ordered = None
        return self.app.push.ring()

    def counts(self) -> dict[str, int]:
        """Count jobs by state."""
        with self.app.db.read() as conn:
            return links.counts(conn)

    def link(self, job_id: int) -> Any:
        """Return a job's link."""
        with self.app.db.read() as conn:
            return links.get(conn, job_id)

    def row(self, job_id: int) -> Any:
        """Return a job's row."""
        with self.app.db.read() as conn:
            return jobs.get(conn, job_id)

    def broken(self) -> list[str]:
        """Return what breaks the promise, a line each."""
        return broken(self.sandbox.rm.jobs(), self.sandbox.qbt.state())

    def writes(self) -> list[tuple[str, str, int]]:
        """Return the write calls so far: method, path, number of items."""
        calls = [c for c in self.sandbox.calls if c.service == "qbt"]
        return [(c.method, c.path, c.items or 0) for c in calls if c.method in ("POST", "PUT")]


def one_to_one(office: Office, number: int) -> None:
    """Fail unless there are as many jobcodes and locations, linked one to one, as jobs."""
    state = office.sandbox.qbt.state()
    assert office.broken() == []
    assert (len(state["jobcodes"]), len(state["locations"])) == (number, number)
