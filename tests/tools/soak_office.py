"""What people do during a soak: they change jobs in RestorationManager, and give orders."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select
from sqlalchemy.exc import DBAPIError

from cprqueue.domain.states import RunKind, RunState
from cprqueue.sandbox.server import Sandbox
from cprqueue.store.tables import runs
from tests.office import job
from tests.real_processes import wait_until
from tests.running import System

CLOSED = {"jobProgress": "Paid in Full - File Closed"}
OPEN = {"jobProgress": "Work in Progress"}


class Changes:
    """Jobs that are new, renamed, closed, opened again or moved, by the seed.

    Only jobs with an odd id are closed and only those with an even one renamed: of a job that
    closes before its new number was pushed nobody could say which name is right.
    """

    def __init__(self, sandbox: Sandbox, seed: int, number: int) -> None:
        self.sandbox, self.rng, self.made, self.done = sandbox, random.Random(seed), 0, 0
        for _ in range(number):
            self._new()

    def make_one(self) -> None:
        """Change something."""
        self.done += 1
        change = (self._new, self._rename, self._close_or_open, self._move, self._move)
        self.rng.choice(change)()

    def some_number(self) -> str:
        """Return the number that a job has now."""
        return str(self.rng.choice(self.sandbox.rm.jobs())["jobJobId"])

    def _new(self) -> None:
        self.made += 1
        self._put(job(self.made, f"A-{self.made}"))

    def _rename(self) -> None:
        job_id = 2 * self.rng.randint(1, self.made // 2)
        self._put({"jobId": job_id, "jobJobId": f"B-{job_id}-{self.done}"})

    def _close_or_open(self) -> None:
        job_id = 2 * self.rng.randint(1, self.made // 2) - 1
        self._put({"jobId": job_id, **self.rng.choice((CLOSED, OPEN))})

    def _move(self) -> None:
        job_id = self.rng.randint(1, self.made)
        self._put({"jobId": job_id, "jobAddress1": f"{self.done} Soak Street"})

    def _put(self, fields: dict[str, Any]) -> None:
        self.sandbox.rm.put_jobs([fields])


class Orders:
    """Commands that are given while all of it happens, each a process of its own."""

    def __init__(self, system: System, changes: Changes, seed: int, url: str) -> None:
        self.system, self.changes, self.url = system, changes, url
        self.rng = random.Random(seed + 1)
        self.given: list[tuple[list[str], subprocess.Popen[bytes], Path]] = []

    def give_one(self) -> None:
        """Give an order, and do not wait for it."""
        words = self.rng.choice(
            (
                ["sync", "--no-wait"],
                ["sync", "--no-wait"],
                ["sync", "--full", "--no-wait"],
                ["resync", self.changes.some_number(), "--timeout", "20"],
                ["prune", "run", "--yes", "--no-wait"],
                ["undo", self._last_prune(), "--no-wait"],
                ["status"],
            )
        )
        if all(words):
            self.give(*words)

    def give(self, *words: str) -> subprocess.Popen[bytes]:
        """Start this command."""
        path = self.system.directory / f"order-{len(self.given)}"
        with path.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "cprqueue", *words],
                env=self.system.env,
                cwd=self.system.directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.given.append((list(words), process, path))
        return process

    def wrong(self, *, seconds: float) -> list[str]:
        """Return what is wrong with the orders, after so many more seconds for them to end."""
        until = time.monotonic() + seconds
        found = []
        for words, process, path in self.given:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            said = path.read_text(errors="replace")
            if process.poll() is None:
                process.kill()
                process.wait()
                found.append(f"{' '.join(words)} did not end: {said[-300:]}")
            elif "Traceback" in said or "the whole error is in" in said:
                found.append(f"{' '.join(words)} ended with a traceback: {said[-3000:]}")
            elif process.returncode < 0 or (process.returncode and not said.strip()):
                found.append(f"{' '.join(words)} ended with {process.returncode}: {said[-300:]}")
        return found

    def _last_prune(self) -> str:
        last = select(runs.c.run_id).where(
            runs.c.kind == RunKind.PRUNE, runs.c.state == RunState.DONE
        )
        engine = create_engine(self.url, connect_args={"connect_timeout": 2})
        try:
            with engine.connect() as conn:
                found = conn.execute(last.order_by(runs.c.run_id.desc())).scalar()
        except DBAPIError:
            return ""
        finally:
            engine.dispose()
        return str(found or "")


@contextmanager
def up_with_log(system: System, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``up`` for the block; all that it says goes into the file."""
    with log.open("ab") as file:
        up = subprocess.Popen(
            [sys.executable, "-m", "cprqueue", "up", "--flower-port", "0"],
            env=system.env,
            cwd=system.directory,
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(lambda: b"ready\n" in log.read_bytes(), timeout_seconds=120)
        yield up
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(60)
