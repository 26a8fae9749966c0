"""A running installation for the tests of prunes: its sandbox, its database, its commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from celery import Celery

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind
from cprqueue.runtime import broker
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.prune import turns
from cprqueue.store import plan_items, runs
from cprqueue.store.database import Database
from tests import log_scan
from tests.office import broken, job
from tests.real_processes import killed_at_the_end, marked, wait_until
from tests.running import System, errors

CLOSED = {"jobProgress": "Paid in Full - File Closed"}
MANY = "5000"
ENV = {
    "QBT_RATE_LIMIT": MANY,
    "CPR_LEASE_SECONDS": "3",
    "QBT_RETRY_BASE_SECONDS": "0.05",
    "CPR_TIMEZONE": "UTC",
    "PUSH_MIN_LIMIT": MANY,  # whole sets of jobs close and open again
}


UNMANAGED = ("Shop", "Yard", "Training", "Vacation", "Phase 1")
"""Jobcodes that tests make by hand."""


class Place:
    """One running installation, its sandbox, and what tests ask of both."""

    def __init__(self, system: System) -> None:
        self.system, self.sandbox = system, system.sandbox
        self.db = Database(f"sqlite:///{system.var / 'cprqueue.db'}")

    def sync(self, *jobs: dict[str, Any]) -> None:
        """Put these jobs into RM and bring all in step."""
        self.sandbox.rm.put_jobs(jobs)
        done = self.system.sync("--full")
        assert done["code"] == 0, done

    def begin_anew(self, number: int) -> None:
        """Have exactly these many jobs, open and in step."""
        self.sandbox.client.clear_faults()
        self.sync(*(job(n, f"A-{n}") for n in range(1, number + 1)))
        assert not self.broken(), self.broken()

    def close(self, numbers: range) -> None:
        self.sync(*(job(n, f"A-{n}", **CLOSED) for n in numbers))

    def archived(self) -> set[str]:
        state = self.sandbox.qbt.state()
        gone = {code["name"] for code in state["jobcodes"] if not code["active"]}
        return {name for name in gone if name.startswith("A-")}

    def broken(self) -> list[str]:
        return broken(self.sandbox, *UNMANAGED)

    def run(self, *words: str) -> tuple[int, dict[str, Any], list[str]]:
        """Run a command with --json: its exit code, what it printed, its error lines."""
        done = self.system.run(*words, "--json")
        return done.returncode, json.loads(done.stdout or "{}"), errors(done.stderr)

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command."""
        process = log_scan.Watched(
            [sys.executable, "-m", "cprqueue", *words],
            env=self.system.env,
            cwd=self.system.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with killed_at_the_end(process):
            yield process

    def interrupt(self, when: Callable[[], object], *words: str) -> tuple[int, list[str]]:
        """Start a command, send Ctrl-C once a condition holds: its exit code, its error lines."""
        with self.started(*words) as process:
            wait_until(when)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        return process.returncode, errors(said)

    def newest(self, kind: RunKind) -> Run | None:
        """Return the newest run of a kind."""
        with self.db.read() as conn:
            return runs.newest(conn, kind)

    def live(self) -> Run | None:
        """Return the prune, remove-all or undo that is queued or at work."""
        with self.db.read() as conn:
            return turns.live(conn)

    def sweep_until(self, condition: Callable[[], object]) -> None:
        """Send what beat would send each minute, each second, until the condition holds."""
        order_until(self, ("cpr.sweep",), lambda: bool(condition()))

    def suspended(self) -> list[int]:
        """Return the suspended processes of this installation."""
        found = []
        for pid in marked(self.system.directory):
            with suppress(FileNotFoundError):
                stat = Path(f"/proc/{pid}/stat").read_text()
                found += [pid] if stat.rpartition(")")[2].split()[0] == "T" else []
        return found

    def rows(self) -> int:
        with self.db.read() as conn:
            return len(runs.newest_few(conn, None, limit=100_000))

    def items(self, run_id: int) -> list[Any]:
        with self.db.read() as conn:
            return plan_items.of_run(conn, run_id)

    def state_of(self, run_id: int) -> str:
        with self.db.read() as conn:
            row = runs.get(conn, run_id)
        return str(row.state) if row else ""


def names(numbers: range) -> set[str]:
    return {f"A-{n}" for n in numbers}


def comparable(state: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Everything but the times of change."""
    moving = ("last_modified", "created", "geocoding_status", "latitude", "longitude")
    tables = ("jobcodes", "locations")
    return {
        name: [{k: v for k, v in row.items() if k not in moving} for row in state[name]]
        for name in tables
    }


def order_until(place: Place, tasks: tuple[str, ...], condition: Callable[[], bool]) -> None:
    """Send what beat orders, each second, until the condition holds."""
    app = Celery(broker=broker.broker_url(place.system.var))
    ticks = 0

    def ordered() -> bool:
        nonlocal ticks
        if ticks % 50 == 0:
            for task in tasks:
                app.send_task(task, queue="maintenance", expires=5)
        ticks += 1
        return condition()

    try:
        wait_until(ordered, timeout_seconds=60)
    finally:
        app.close()


@contextmanager
def running_place(directory: Path, **env: str) -> Iterator[Place]:
    """Run an installation without jobs for the block; beat and Flower are off."""
    with Sandbox(jobs=[]) as sandbox:
        sandbox.qbt.switches.update({"rate_limit": int(MANY), "geocode_seconds": 1e9})
        system = System(directory, sandbox, **ENV, **env)
        with system.up("--no-flower", "--no-beat"):
            place = Place(system)
            yield place
            place.db.close()
