"""A worker's own clock is an hour off, or set while it works: beat's orders are carried out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cprqueue.celery import QUEUES
from cprqueue.sandbox.server import Sandbox
from tests import log_scan
from tests.office import broken, job
from tests.own_valkey import own_valkey
from tests.real_processes import killed_at_the_end, no_process_left_behind, wait_until
from tests.running import ROOT, System
from tests.stepped_postgres import found_in_lib

HOUR = 3600
TIMETABLE = """
from cprqueue.celery import app
app.conf.beat_schedule = {
    "fetch": {"task": "cpr.fetch_jobs", "schedule": 2, "options": {"expires": 2}},
    "sweep": {"task": "cpr.sweep", "schedule": 2, "options": {"expires": 2}},
}
"""


SLEEP = """
import select, time
def sleep(seconds):
    select.select((), (), (), seconds)
time.sleep = sleep
"""  # under libfaketime the system's call for it fails


class Host:
    """A machine with a clock of its own, on which Celery programs run."""

    def __init__(self, system: System, place: Path) -> None:
        self.system, self.offset = system, place / "offset"
        place.mkdir()
        (place / "sitecustomize.py").write_text(SLEEP)
        self.step(0)

    def step(self, seconds: float) -> None:
        """Set its clock so far ahead of the true time."""
        new = self.offset.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.rename(self.offset)

    @contextmanager
    def running(self, *words: str) -> Iterator[Path]:
        """Run a Celery program for the block; yield its log."""
        env = {
            "PYTHONPATH": f"{self.offset.parent}:{ROOT}",
            "LD_PRELOAD": str(found_in_lib("*/faketime/libfaketime.so.1")),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        said = self.offset.with_suffix(".log")
        with said.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "cprqueue", *words],
                env={**self.system.env, **env},
                cwd=self.system.directory,
                stdout=log,
                stderr=log,
                text=True,
            )
        with killed_at_the_end(process):
            yield said
        for left in Path("/dev/shm").glob(f"*faketime_*_{process.pid}"):
            left.unlink()
        log_scan.collect(said.read_text().splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="libfaketime's semaphores are root's here")
def test_no_order_of_beat_is_dropped_by_a_clock_that_is_wrong(
    postgres_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(jobs=[job(1, "A-1")]))
        stack.enter_context(no_process_left_behind(tmp_path))
        port = stack.enter_context(own_valkey(tmp_path))
        url = f"redis://127.0.0.1:{port}/0"
        place = {"DATABASE_URL": postgres_url, "CELERY_BROKER_URL": url}
        system = System(tmp_path, sandbox, **place, CPR_LEASE_SECONDS="3")
        (tmp_path / "celerybeat-schedule.py").write_text(TIMETABLE)
        assert system.run("migrate").returncode == 0
        beats, workers = Host(system, tmp_path / "beats"), Host(system, tmp_path / "workers")
        workers.step(HOUR)
        stack.enter_context(beats.running("beat"))
        said = stack.enter_context(workers.running("worker", "-Q", ",".join(QUEUES), "-c", "3"))
        for number, offset in enumerate((HOUR, -HOUR), 1):
            workers.step(offset)
            moved = job(1, "A-1", jobAddress1=f"{number} New Street")
            sandbox.rm.put_jobs([moved, job(number + 1, f"A-{number + 1}")])
            wait_until(lambda: not broken(sandbox), timeout_seconds=40)
        assert "Traceback" not in said.read_text()
