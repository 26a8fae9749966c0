"""The log never stops the work: nobody reads it, its disk is full, its terminal is gone."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery

from cprqueue.runtime import broker, supervised
from cprqueue.runtime.programs import QUEUES
from cprqueue.sandbox.server import Sandbox
from tests.real_processes import marked, no_process_left_behind, wait_until
from tests.running import PATIENT, ROOT, System

UP = f"exec {shlex.quote(sys.executable)} -m cprqueue up --no-beat --no-flower"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=20) as sandbox, no_process_left_behind(tmp_path):
        yield System(tmp_path, sandbox)


def in_step(system: System, *, workers: int = len(QUEUES)) -> bool:
    """Wait for all workers, have each of them log something, and sync."""
    app = Celery(broker=broker.broker_url(system.var))
    wait_until((system.var / "broker" / "broker.sock").exists, **PATIENT)
    wait_until(lambda: len(app.control.ping(timeout=0.5) or ()) == workers, **PATIENT)
    app.control.broadcast("no_such_command")  # an error with a traceback
    wait_until(lambda: len(app.control.ping(timeout=2) or ()) == workers)
    app.close()
    done = system.sync("--full")
    return bool(done["due"] == 0 and done["in_sync"])


@contextmanager
def shell(system: System, line: str) -> Iterator[None]:
    """Run a line of bash that ends in ``up`` for the block; end it by the id in its lock."""
    lock = system.var / "lock"
    with subprocess.Popen(["/bin/bash", "-c", line], env=system.env, cwd=system.directory) as run:
        try:
            yield
        finally:
            os.kill(int(supervised.holder(lock)), signal.SIGTERM)
            assert run.wait(60) == 0


def test_up_goes_on_when_its_reader_has_read_enough(installed: System) -> None:
    with shell(installed, f"({UP}) 2>&1 | head -n 1 >/dev/null"):
        assert in_step(installed)


def test_up_and_celery_workers_go_on_with_a_full_disk_and_closed_outputs(
    installed: System,
) -> None:
    with shell(installed, f"{UP} >/dev/full <&- 2>&-"):
        assert in_step(installed)
        worker = f"{sys.executable} -m celery -A cprqueue worker -c 1 -Q insert -n"
        full = f"{worker} full@%h >/dev/full 2>/dev/full"
        closed = f"{worker} closed@%h >&- 2>&- <&-"
        head = f"({worker} head@%h 2>&1) | head -n 1 >/dev/null"
        line = f"{full} & {closed} & {head} & wait"
        with subprocess.Popen(
            ["/bin/bash", "-c", line], env=installed.env, cwd=ROOT, start_new_session=True
        ) as workers:
            try:
                assert in_step(installed, workers=len(QUEUES) + 3)
            finally:
                os.killpg(workers.pid, signal.SIGTERM)


def test_up_goes_on_when_its_terminal_is_closed(installed: System) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(installed.directory)
        os.execve("/bin/bash", ["bash", "-c", UP], installed.env)  # noqa: S606
    wait_until(lambda: len(marked(installed.directory)) > 10, **PATIENT)
    os.close(terminal)  # the kernel sends SIGHUP, and each write fails from now on
    assert in_step(installed)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
