"""The database's clock is set while everything runs: nothing stands still, nothing is missed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.sandbox.audit import audit
from cprqueue.sandbox.server import Sandbox
from tests.real_processes import wait_until
from tests.running import System, Up
from tests.stepped_postgres import SteppedPostgres, stepped_postgres

HOUR, DAY = 3600, 86400
LIMIT, WINDOW = 12, 6.0


@pytest.fixture
def postgres() -> Iterator[SteppedPostgres]:
    with stepped_postgres() as made:
        yield made


def calls(system: System) -> list[float]:
    """Return when each call to QuickBooks Time arrived."""
    return [call.at for call in system.sandbox.call_log.select("qbt")]


def most_in_a_window(moments: list[float]) -> int:
    return max(sum(first <= at < first + WINDOW for at in moments) for first in moments)


def some_calls(system: System) -> None:
    seen = len(calls(system))
    wait_until(lambda: len(calls(system)) > seen + 2, timeout_seconds=60)


def right(system: System) -> int:
    found = audit(system.sandbox.rm.jobs(), system.sandbox.qbt.state())
    return 0 if found.wrong else found.right


@pytest.mark.timeout(300)
def test_the_clock_of_the_database_is_stepped_in_mid_sync(
    postgres: SteppedPostgres, tmp_path: Path
) -> None:
    budget = {"QBT_RATE_LIMIT": str(LIMIT), "QBT_RATE_WINDOW": str(WINDOW)}
    with Sandbox(jobs=320) as sandbox:
        system = System(tmp_path, sandbox, DATABASE_URL=postgres.url, **budget)
        with system.up("--no-flower") as up:
            assert system.run("sync", "--full", "--no-wait").returncode == 0
            for offset in (HOUR, 0, -HOUR, DAY):
                some_calls(system)
                postgres.step(offset)
            last = system.sync("--full", "--timeout", "150")
            assert (last.get("due"), last["error"]) == (0, []), last
            assert right(system) > 150
            assert most_in_a_window(calls(system)) <= LIMIT
            change_is_pushed(system, postgres, DAY)
            change_is_pushed(system, postgres, -HOUR)
            told(system, up)


def change_is_pushed(system: System, postgres: SteppedPostgres, offset: float) -> None:
    """Step the clock, change an address in RM, and sync: it is right at once."""
    postgres.step(offset)
    job = next(j for j in system.sandbox.rm.jobs() if j["jobStatus"] == "Active" and j["jobZip"])
    system.sandbox.rm.put_jobs([{**job, "jobAddress1": f"{abs(offset):.0f} New Street"}])
    last = system.sync("--full", "--timeout", "60")
    assert (last.get("due"), last["error"]) == (0, []), last
    assert right(system) > 150


def told(system: System, up: Up) -> None:
    status = json.loads(system.run("status", "--json").stdout)
    back = re.compile(r"clock went back by (8999|9000)\d s")
    assert [w for w in status["warnings"] if back.search(w)], status["warnings"]
    checked = json.loads(system.run("check", "--json").stdout)["checks"]
    assert [c for c in checked if "clock went back by 90000 s" in c["text"]], checked
    assert [line for line in up.err if "Traceback" in line] == []
