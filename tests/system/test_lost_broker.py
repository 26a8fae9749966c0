"""A broker that goes away while a task sends wake-ups costs one line; the sweep does the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cprqueue.domain.states import LinkState, RunKind
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import runs
from tests.office import Office, job
from tests.real_processes import marked, wait_until
from tests.running import ROOT, System

NOWHERE = "redis://127.0.0.1:1/0"

INSERT = """
from workers.insert import insert_job
from cprqueue.domain.mapping import read_job
import json, sys
message = read_job(json.loads(sys.argv[1])).as_message()
seen = {"run_id": 1, "complete": True, "observed_at": "2026-03-01T12:00:00+00:00"}
print(insert_job.apply(kwargs={"job": message, **seen}).state)
"""
PUSH = "from workers.upsert import upsert_job; print(upsert_job.apply().state)"
PRUNE = """
from cprqueue.bootstrap import application
from cprqueue.services.prune import orders
from workers.maintenance import snapshot_and_prune
run_id = orders.request_prune(application().db, "operator")
print(snapshot_and_prune.apply(kwargs={"run_id": run_id}).state)
"""
FETCH = "from workers.fetch import fetch_jobs; print(fetch_jobs.apply().state)"


def run(office: Office, code: str, *words: str) -> tuple[str, str]:
    """Run a task in a process of its own, with a broker that is away; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **office.env, "CELERY_BROKER_URL": NOWHERE},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [(INSERT, [job(2, "A-2")]), (PUSH, []), (PRUNE, [])],
    ids=["insert", "upsert", "prune"],
)
def test_a_task_whose_wake_ups_cannot_be_sent_has_done_its_work(
    office: Office, code: str, words: list[dict[str, object]]
) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    run_id = office.fetch()  # due, and there is no export yet
    with office.app.db.begin() as conn:  # of the first push: its jobs are due at once
        runs.set_detail(conn, run_id, {"braked": False})
    state, log = run(office, code, *map(json.dumps, words))
    assert state == "SUCCESS", log
    assert "Traceback" not in log
    assert all("not sent: the next sweep does it" in line for line in log.splitlines())
    assert "the broker does not answer: ConnectionError: Error 111" in log
    if words:
        assert office.link(2).state is LinkState.DUE


def test_a_fetch_whose_messages_cannot_be_sent_fails_with_one_line(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    state, log = run(office, FETCH)
    assert state == "FAILURE"
    assert "Traceback" not in log
    with office.app.db.read() as conn:
        (row,) = runs.newest_few(conn, RunKind.FETCH, limit=9)
    assert row.state == "failed"
    assert str(row.note).startswith("the broker does not answer: ConnectionError: Error 111")


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.rm_jobs(*(job(n, f"A-{n}") for n in range(1, 8)))
def test_after_a_broker_died_between_record_and_wake_up_everything_comes_in_step(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    system = System(tmp_path, sandbox, CPR_FAILPOINTS="waking_up:stop")

    def stopped() -> list[int]:
        return [pid for pid in marked(tmp_path) if is_stopped(pid)]

    with system.up("--no-flower") as up:
        assert system.sync("--no-wait")["code"] == 0
        wait_until(stopped)
        (worker,) = stopped()
        (broker,) = [
            pid
            for pid in marked(tmp_path)
            if b"unixsocket" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(broker, signal.SIGKILL)
        os.kill(worker, signal.SIGCONT)
        end: dict[str, Any] = {}

        def synced() -> bool:
            """False while there is no broker again yet."""
            end.update(system.sync("--full"))
            return bool(end["code"] != 3)

        wait_until(synced, timeout_seconds=60)
        assert (end["code"], end["in_sync"]) == (0, 7)
        assert not up.heard("Traceback"), "".join(up.err)
