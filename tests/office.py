"""An office for tests: the product's services on a real database, against a real sandbox.

No broker and no workers: what the workers would do is called here in their order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import CprqueueError, Transient
from cprqueue.sandbox.audit import audit
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.push.push import WakeUpResult
from cprqueue.services.record import record_in
from cprqueue.store import jobs, links, runs, schema, sightings
from cprqueue.store.database import Database, clock
from tests import log_scan

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


@cache
def _tables() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "cpr.db"
        made = Database(f"sqlite:///{path}")
        schema.upgrade(made)
        made.close()
        return path.read_bytes()


def put_tables(path: Path) -> None:
    """Make a SQLite database with all tables, unless it is there; quicker than the migrations."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_tables())


def broken(sandbox: Sandbox, *unmanaged: str) -> list[str]:
    """Return what breaks the promise, a line each, as the sandbox's own audit finds it.

    ``unmanaged``: the names of jobcodes that are there and are no job's.
    """
    state = sandbox.qbt.state()
    ids = {code["id"] for code in state["jobcodes"] if code["name"] in unmanaged}
    return audit(sandbox.rm.jobs(), state, unmanaged=ids).wrong


def written(
    directory: Path, items: Any, name: str = "jobs.json", *, age_seconds: float = 0
) -> Path:
    """Write RM jobs, or any text, to a file as if that long ago."""
    path = directory / name
    path.write_text(items if isinstance(items, str) else json.dumps(items), encoding="utf-8")
    moment = time.time() - age_seconds
    os.utime(path, (moment, moment))
    return path


class Office:
    """The services of one installation."""

    def __init__(self, sandbox: Sandbox, var_dir: Path, **settings: str) -> None:
        self.sandbox = sandbox
        log_scan.watch(sandbox)
        self.env = {**environment(sandbox.url), "CPR_VAR_DIR": str(var_dir), **QUICK, **settings}
        self.settings = config.load(self.env)
        if "QBT_RATE_LIMIT" in settings:  # the service allows as many as the office believes
            sandbox.qbt.switches.update({"rate_limit": self.settings.qbt_rate_limit})
        if "DATABASE_URL" not in settings:
            put_tables(var_dir / "cprqueue.db")
        self.app = Application(self.settings)
        schema.upgrade(self.app.db)
        self._ordered: int | None = None

    def close(self) -> None:
        """Give back all connections."""
        self.app.close()

    def fetch(self) -> int:
        """Record everything that RM has now, as a complete fetch that is done."""
        with self.app.db.begin() as conn:
            now = clock(conn)
            run_id = runs.create(conn, RunKind.FETCH, now=now, state=RunState.DONE, complete=True)
            number = sightings.next_number(conn)
            runs.change(conn, run_id, observed_at=now, finished_at=now, sighting=number)
        self.record(self.sandbox.rm.jobs(), run_id)
        return run_id

    def record(self, items: Iterable[dict[str, Any]], run_id: int = 0) -> None:
        """Record these RM jobs."""
        with self.app.db.read() as conn:
            now = clock(conn)
            number = sightings.number_at(conn, now)
        sighting = Sighting(run_id=run_id, number=number, complete=run_id > 0, observed_at=now)
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

    def push(self, *, seconds: float = 20) -> list[WakeUpResult]:
        """Ring until no job is due any more."""
        rungs, deadline = [], time.monotonic() + seconds
        while self.counts()["due"] and time.monotonic() < deadline:
            rungs.append(self.ring())
            if "stopped" in rungs[-1].text:
                break
        return rungs

    def ring(self) -> WakeUpResult:
        """Ring as the workers do: an export that is ordered is taken before the next ring."""
        result = self.app.push.push_due()
        self._ordered = result.export or self._ordered
        if self._ordered is None:
            return result
        try:
            self.app.snapshot.take(self._ordered)
        except Transient as error:
            return self.app.push.halted(error)
        except CprqueueError as error:
            self._ordered = None
            return self.app.push.halted(error)
        self._ordered = None
        return self.app.push.push_due()

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

    def broken(self, *unmanaged: str) -> list[str]:
        """Return what breaks the promise, a line each; ``unmanaged`` jobcodes are no job's."""
        return broken(self.sandbox, *unmanaged)

    def writes(self) -> list[tuple[str, str, int]]:
        """Return the write calls so far: method, path, number of items."""
        calls = [c for c in self.sandbox.calls if c.service == "qbt"]
        return [(c.method, c.path, c.items or 0) for c in calls if c.method in ("POST", "PUT")]


MakeOffice = Callable[..., Office]


def die_at(office: Office, point: str, code: str, *words: str) -> None:
    """Run Python code on the office's installation, in a process that is killed at this line."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **office.env, "CPR_FAILPOINTS": point},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def one_to_one(office: Office, number: int) -> None:
    """Fail unless there are as many jobcodes and locations, linked one to one, as jobs."""
    state = office.sandbox.qbt.state()
    assert office.broken() == []
    assert (len(state["jobcodes"]), len(state["locations"])) == (number, number)
