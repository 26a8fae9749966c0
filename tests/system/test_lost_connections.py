"""Connections that the database closes, and databases that are killed: nothing is lost by it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyodbc
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind
from cprqueue.errors import ServiceUnreachable
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import runs
from cprqueue.store.database import Database
from tests import own_servers
from tests.office import broken, job
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import System, Up

QUICK = {"QBT_RETRY_BASE_SECONDS": "0.05", "CPR_LEASE_SECONDS": "4", "QBT_RATE_LIMIT": "3000"}
CLOSED = {"jobProgress": "Paid in Full - File Closed"}
JOBS = 60
SEED = 11


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[own_servers.Server]:
    with own_servers.running(request.param) as running:
        yield running


@contextmanager
def closing(url: str, *, times: int) -> Iterator[None]:
    """Close all connections to the database so many times, at random moments."""
    rng, over = random.Random(SEED), threading.Event()

    def work() -> None:
        for _ in range(times):
            with suppress(DBAPIError, pyodbc.Error):  # this one was closed, or the server is down
                own_servers.close_connections(url)
            if over.wait(rng.uniform(0.05, 0.5)):
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def started(system: System, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cprqueue", *words],
        env=system.env,
        cwd=system.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_the_end(process):
        yield process


def ordered(system: System, kind: RunKind, *words: str) -> int:
    """Give an order without waiting, again where its own connection was closed; return its run."""
    db = Database(system.env["DATABASE_URL"])

    def newest() -> int:
        while True:
            with suppress(ServiceUnreachable), db.read() as conn:
                run = runs.newest(conn, kind)
                return run.run_id if run else 0

    before = newest()
    wait_until(lambda: system.run(*words, "--no-wait").returncode == 0, timeout_seconds=60)
    found = newest()
    db.close()
    assert found > before
    return found


def of_run(url: str, run_id: int) -> Run:
    db = Database(url)
    with db.read() as conn:
        run = runs.existing(conn, run_id)
    db.close()
    return run


def live_runs(url: str) -> list[int]:
    db = Database(url)
    with db.read() as conn:
        found = runs.newest_few(conn, None, *runs.OPEN, limit=100)
    db.close()
    return [run.run_id for run in found]


def nobody_connected(url: str) -> bool:
    """Tell whether the server has closed every connection but this one."""
    others = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "mariadb": "SELECT count(*) FROM information_schema.processlist"
        " WHERE db = database() AND id <> connection_id()",
    }
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        return bool(conn.execute(text(others[engine.dialect.name])).scalar_one() == 0)


def ends(url: str, run_id: int) -> Callable[[], bool]:
    return lambda: of_run(url, run_id).state in runs.ENDED


@pytest.mark.timeout(300)
def test_nothing_is_lost_by_connections_that_close_and_a_database_that_is_killed(
    server: own_servers.Server, tmp_path: Path
) -> None:
    url = server.url
    with Sandbox(jobs=[job(n, f"A-{n}") for n in range(1, JOBS + 1)]) as sandbox:
        sandbox.qbt.switches.update({"rate_limit": 3000})
        system = System(tmp_path, sandbox, DATABASE_URL=url, **QUICK)
        with system.up("--no-flower") as up:
            _killed_in_a_sync(system, server)
            _idle_for_too_long(system)
            _closed_while_orders_are_carried_out(system, up)
        assert broken(sandbox) == []
        assert len(sandbox.qbt.state()["jobcodes"]) == JOBS
        assert len(sandbox.qbt.state()["locations"]) == JOBS
    _no_traceback(up)


def _killed_in_a_sync(system: System, server: own_servers.Server) -> None:
    """Kill the server twice in a sync that somebody waits for, and close connections besides."""
    with started(system, "sync", "--full", "--json") as sync:
        wait_until(lambda: system.sandbox.call_log.select("rm"), timeout_seconds=60)
        with closing(server.url, times=8):
            server.restart()
            wait_until(lambda: system.writes() > 0, timeout_seconds=60)
            server.restart()
        said, told = sync.communicate(timeout=120)
    assert sync.returncode == 0, told
    assert json.loads(said)["in_sync"] == JOBS
    assert "Traceback" not in told
    wait_until(lambda: not live_runs(server.url), timeout_seconds=60)


def _idle_for_too_long(system: System) -> None:
    """Let the server close what lies idle, then resync: the story as it was reported."""
    url = system.env["DATABASE_URL"]
    for street in ("1 Idle Street", "2 Idle Street"):
        wait_until(lambda: nobody_connected(url), timeout_seconds=40)
        system.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1=street)])
        done = system.run("resync", "A-1", "--json")
        assert done.returncode == 0, done.stderr
        places = system.sandbox.qbt.state()["locations"]
        assert street in [place["addr1"] for place in places if place["active"]], places


def _closed_while_orders_are_carried_out(system: System, up: Up) -> None:
    url, sandbox = system.env["DATABASE_URL"], system.sandbox
    sandbox.rm.put_jobs([job(n, f"A-{n}", **CLOSED) for n in range(1, 6)])
    assert system.sync("--full")["code"] == 0
    sandbox.rm.put_jobs([job(9, "A-9", jobAddress1="9 Elm Street")])
    with closing(url, times=20):
        resync = ordered(system, RunKind.RESYNC, "resync", "A-9")
        prune = ordered(system, RunKind.PRUNE, "prune", "run")
    wait_until(ends(url, resync), timeout_seconds=60)
    wait_until(ends(url, prune), timeout_seconds=90)
    found = [of_run(url, run_id) for run_id in (resync, prune)]
    assert [run.state for run in found] == ["done", "done"], [*found, "".join(up.err)]


def _no_traceback(up: Up) -> None:
    assert up.heard("Traceback") == 0, "".join(up.err)
