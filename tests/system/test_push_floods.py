"""One fetch that would change too much writes nothing before a person decides.

Real workers; half of the floods come while a worker is killed again and again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.office import job
from tests.real_processes import marked
from tests.running import System

ALL, LIMIT = 120, 24
EMPTY = dict.fromkeys(("jobAddress1", "jobAddress2", "jobCity", "jobStateCd", "jobZip"), "")
CLOSED = {"jobProgress": "Paid in Full - File Closed"}
ENV = {
    "QBT_RATE_LIMIT": "5000",
    "CPR_LEASE_SECONDS": "3",
    "QBT_RETRY_BASE_SECONDS": "0.05",
    "CPR_TEST_AGAIN_SECONDS": "5",  # what a killed process had taken along comes again after this
}

Jobs = list[dict[str, Any]]


def plain(number: int, **fields: Any) -> dict[str, Any]:
    return job(number, f"A-{number}", **fields)


ORDINARY = [plain(n) for n in range(1, ALL + 1)]


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system in step, whose workers run; each test brings a flood and takes it back."""
    with Sandbox(jobs=ORDINARY) as sandbox:
        sandbox.qbt.switches.update({"rate_limit": 5000})
        system = System(tmp_path_factory.mktemp("flooded"), sandbox, **ENV)
        with system.up("--no-beat", "--no-flower"):
            assert system.sync()["code"] == 0
            yield system


@contextmanager
def workers_killed(system: System) -> Iterator[None]:
    """Kill one pool process of the workers after another, until the block ends."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.4):
            for pid in pool_processes(system.directory)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def pool_processes(mark: Path) -> list[int]:
    """Return the processes of the workers whose parent is a worker too."""
    pids = {pid for pid in marked(mark) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}
    return [pid for pid in pids if parent(pid) in pids]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])


def status(system: System) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(system.run("status", "--json").stdout)["jobs"]
    return found


EMPTIED = [{**each, **EMPTY} for each in ORDINARY]
RENAMED = [{**each, "jobJobId": f"NEW-{each['jobJobId']}"} for each in ORDINARY]
ANOTHER_COMPANY = [job(n, f"X-{n}") for n in range(5001, 5101)]


@pytest.mark.parametrize(
    ("flood", "killed"),
    [
        pytest.param(EMPTIED, True, id="every address is empty, while workers are killed"),
        pytest.param(RENAMED, False, id="every number has a new prefix"),
        pytest.param(ANOTHER_COMPANY, True, id="another company's jobs, while workers are killed"),
    ],
)
def test_a_flood_is_held_and_let_go_when_it_is_taken_back(
    flooded: System, flood: Jobs, killed: bool
) -> None:
    before = flooded.writes()
    flooded.sandbox.rm.put_jobs(flood)
    with workers_killed(flooded) if killed else nullcontext():
        first = flooded.sync("--full")
    assert (first["code"], first["held"], first["due"]) == (1, len(flood), 0), first
    again = flooded.sync("--full")
    assert (again["code"], again["held"]) == (1, len(flood))
    assert status(flooded)["held"] == len(flood)
    assert flooded.writes() == before
    shown = json.loads(flooded.run("plan", "show", str(first["run_id"]), "--json").stdout)
    assert len(shown["jobs"]) == len(flood)

    back = [{**each, **CLOSED} for each in flood if each["jobId"] > ALL] or ORDINARY
    flooded.sandbox.rm.put_jobs(back)
    assert flooded.sync("--full")["code"] == 0
    assert (status(flooded)["held"], flooded.writes()) == (0, before)


def test_jobs_that_close_and_open_again_at_once_write_nothing(flooded: System) -> None:
    before, some = flooded.writes(), range(1, ALL * 3 // 10 + 1)
    flooded.sandbox.rm.put_jobs([plain(n, **CLOSED) for n in some])
    assert flooded.sync("--full")["code"] == 0
    flooded.sandbox.rm.put_jobs([plain(n) for n in some])
    reopened = flooded.sync("--full")
    assert (reopened["code"], reopened["held"], flooded.writes()) == (1, len(some), before)
    run = str(reopened["run_id"])
    assert flooded.run("plan", "approve", run).returncode == 0
    assert flooded.run("plan", "approve", run).returncode == 1
    assert flooded.sync("--full")["code"] == 0
    assert status(flooded) | {"inactive": 0} == {
        "active": ALL, "in_sync": ALL, "due": 0, "parked": 0, "held": 0, "inactive": 0
    }  # fmt: skip


def test_held_jobs_do_not_leak_by_small_changes_and_others_go_on(flooded: System) -> None:
    rm, before = flooded.sandbox.rm, flooded.writes()
    rm.put_jobs([{**each, **EMPTY} for each in ORDINARY])
    first = flooded.sync("--full")
    assert first["held"] == ALL
    rm.put_jobs([{**plain(1), "jobAddress1": "9 Other Street"}, plain(2)])
    second = flooded.sync()
    assert (second["held"], flooded.writes()) == (ALL - 1, before), "2 is as it was, and let go"
    assert flooded.run("plan", "show", str(second["run_id"]), "--json").returncode == 0
    rm.put_jobs([plain(700)])
    assert flooded.sync()["code"] == 1
    names = {code["name"] for code in flooded.sandbox.qbt.state()["jobcodes"]}
    assert "A-700" in names, "a new job does not wait for what is held"

    resynced = flooded.run("resync", "A-3")
    assert resynced.returncode == 0, resynced.stderr
    dismissed = flooded.run("plan", "dismiss", str(first["run_id"]), "--json")
    assert len(json.loads(dismissed.stdout)["jobs"]) == ALL - 3
    assert status(flooded)["parked"] == ALL - 3
    rm.put_jobs([*ORDINARY, plain(700, **CLOSED)])
    assert flooded.sync("--full")["code"] == 0
    assert status(flooded)["in_sync"] == ALL
