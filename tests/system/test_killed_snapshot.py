"""A snapshot that is killed leaves nothing that anybody uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cprqueue.domain.states import RunKind
from cprqueue.errors import AlreadyRunning
from cprqueue.services.snapshot.snapshot import newest_run_id
from cprqueue.store import events, exports, runs
from tests.office import Office, die_at, job
from tests.real_processes import wait_until


@pytest.fixture
def office(office: Office) -> Office:
    """An account with three pages of jobcodes."""
    for number in range(450):
        office.sandbox.qbt.add_jobcode(name=f"Job {number}")
    return office


def all_ids(office: Office) -> set[int]:
    return {int(code["id"]) for code in office.sandbox.qbt.state()["jobcodes"]}


def exported(office: Office, run_id: int) -> set[int]:
    with office.app.db.read() as conn:
        return set(exports.read_back(exports.of_run(conn, run_id))[0])


def pages_read(office: Office, path: str = "/jobcodes") -> int:
    return sum(call.path == path for call in office.sandbox.calls)


TAKE = "from cprqueue.bootstrap import application; application().snapshot.take()"


@pytest.mark.parametrize(
    ("point", "limit", "number"),
    [
        pytest.param("written_export", "300", signal.SIGKILL, id="killed"),
        pytest.param("found_drift", "300", signal.SIGKILL, id="killed after the comparison"),
        pytest.param("", "300", signal.SIGINT, id="stopped while it reads"),
        pytest.param("", "4", signal.SIGINT, id="stopped while it waits for calls"),
    ],
)
def test_one_that_is_killed_or_stopped_is_never_used_and_the_next_is_whole(
    office: Office, point: str, limit: str, number: signal.Signals
) -> None:
    env = {**os.environ, **office.env, "CPR_FAILPOINTS": point, "QBT_RATE_LIMIT": limit}
    if not point:
        office.sandbox.client.set_faults([{"kind": "slow", "path": "/locations", "times": 1}])
    process = subprocess.Popen([sys.executable, "-c", TAKE], env=env, stderr=subprocess.DEVNULL)
    if not point:
        wait_until(lambda: pages_read(office) >= 3)
        process.send_signal(number)
    assert process.wait(30) == -number
    assert newest_run_id(office.app.db) is None
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT)
    wait_until(lambda: is_taken(office, run_id))
    assert exported(office, run_id) == all_ids(office)


@pytest.mark.parametrize("point", ["written_export", "found_drift"])
def test_a_snapshot_is_done_only_when_its_drift_is_on_record(office: Office, point: str) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.change_jobcode(office.link(1).jobcode_id, name="Somebody's name")
    before = newest_run_id(office.app.db)
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT)
    code = "from cprqueue.bootstrap import application; application().snapshot.take({})"
    die_at(office, point, code.format(run_id))
    assert newest_run_id(office.app.db) == before
    wait_until(lambda: is_taken(office, run_id))  # as when its message comes again
    assert office.counts()["due"] == 1
    with office.app.db.read() as conn:
        told = [event.text for event in events.of_job(conn, 1) if event.kind == "drift"]
    assert len(told) == 1
    office.push()
    assert office.link(1).observed.name == "A-1"


def is_taken(office: Office, run_id: int) -> bool:
    try:
        return office.app.snapshot.take(run_id) == run_id
    except AlreadyRunning:
        return False
