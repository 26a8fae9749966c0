"""A sync of many jobs sends about as many wake-ups as there are batches, and leaves none behind."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.office import Office, job
from tests.real_processes import wait_until
from tests.running import ROOT, System

JOBS = 150
COUNT = """
import json
from cprqueue.celery import app
from workers.publish import messages_in
found = app.control.inspect(timeout=3).stats() or {}
done = sum(one["total"].get("cpr.upsert_job", 0) for one in found.values())
print(json.dumps([done, messages_in("upsert")]))
"""


def counts(system: System) -> tuple[int, int]:
    """Return how many wake-ups were carried out, and how many messages wait."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=system.env, cwd=ROOT, capture_output=True, check=True
    )
    carried_out, waiting = json.loads(done.stdout)
    return carried_out, waiting


def test_no_wake_up_is_left_when_nothing_is_due(system: System, office: Office) -> None:
    system.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, JOBS + 1)])
    with system.up("--no-beat", "--no-flower"):
        synced = system.run("sync", "--json", "--timeout", "120")
        assert json.loads(synced.stdout)["in_sync"] == JOBS, synced.stderr
        wait_until(lambda: not counts(system)[1], timeout_seconds=20)
        carried_out, _ = counts(system)
        assert 0 < carried_out < JOBS / 2
        system.sandbox.rm.put_jobs([job(1, "A-1 new")])  # a single one goes as before
        assert system.run("sync", "--json", "--timeout", "60").returncode == 0
        assert office.row(1).job_number == "A-1 new"
