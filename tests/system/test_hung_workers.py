"""Hung is not alive: a worker that takes no messages is restarted, a busy one is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from cprqueue.celery import QUEUES
from cprqueue.runtime import broker
from cprqueue.sandbox.server import Sandbox
from cprqueue.services import canaries
from cprqueue.store.database import Database
from tests.office import job
from tests.real_processes import marked, wait_until
from tests.running import PATIENT, System

JOBS = 40
QUICK = {"CPR_TEST_CANARY_SECONDS": "1"}


@pytest.fixture
def restless(tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=JOBS) as sandbox:
        yield System(tmp_path, sandbox, **QUICK)


def main_process(system: System, queue: str) -> int:
    mark = f"\0-Q\0{queue}\0".encode()
    found = [p for p in marked(system.directory) if mark in Path(f"/proc/{p}/cmdline").read_bytes()]
    return min(found)


def test_a_stopped_and_a_deaf_worker_are_restarted_and_a_busy_one_is_not(restless: System) -> None:
    slow = {"service": "rm", "path": "/api/Jobs", "kind": "drip", "seconds": 8}
    restless.sandbox.faults.set([slow])
    with restless.up("--no-flower", "--no-beat") as up:
        app = Celery(broker=broker.broker_url(restless.var))
        restless.run("sync", "--no-wait")
        os.kill(main_process(restless, "upsert"), signal.SIGSTOP)
        app.control.cancel_consumer("insert")
        app.send_task("cpr.sweep", queue="maintenance")  # has each queue hold a message
        wait_until(lambda: up.heard("upsert is back"), **PATIENT)
        wait_until(lambda: up.heard("insert is back"), **PATIENT)
        assert up.heard("upsert hangs and is ended: no answer to")
        assert up.heard("insert hangs and is ended: it takes none of the messages in its queue")
        restless.sandbox.client.clear_faults()
        done = restless.sync()
        assert done["due"] == 0, done
        assert not up.heard("fetch hangs"), "it was only busy"
        assert not up.heard("Traceback")

        app.send_task("cpr.sweep", queue="maintenance")
        db = Database(f"sqlite:///{restless.var / 'cprqueue.db'}")
        wait_until(lambda: set(canaries.last(db)) == set(QUEUES))
        db.close()
        app.close()


def test_a_stopped_broker_and_a_stopped_beat_are_restarted(restless: System) -> None:
    with restless.up("--no-flower") as up:
        os.kill(program(restless, b"valkey-server"), signal.SIGSTOP)
        wait_until(lambda: up.heard("broker is back"), **PATIENT)
        assert up.heard("broker hangs and is ended: it takes connections, and answers none")
        os.kill(program(restless, b"\0beat\0"), signal.SIGSTOP)
        wait_until(lambda: up.heard("beat is back"), **PATIENT)
        assert up.heard("beat hangs and is ended: it has not looked at the timetable for")
        restless.sandbox.rm.put_jobs([job(9001, "A-9001")])
        done = restless.sync()
        assert done.get("due") == 0, (done, up.err)
        assert not up.heard("Traceback")


def program(system: System, mark: bytes) -> int:
    """Return the process of ``up`` whose command line holds the mark."""
    found = marked(system.directory)
    return min(pid for pid in found if mark in Path(f"/proc/{pid}/cmdline").read_bytes())
