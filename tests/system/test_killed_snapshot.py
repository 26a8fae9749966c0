"""A snapshot that is killed leaves nothing that anybody uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cprqueue.errors import AlreadyRunning
from cprqueue.services.snapshot.snapshot import newest_run_id
from cprqueue.store import exports
from tests.office import Office
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
        pytest.param("", "300", signal.SIGINT, id="stopped while it reads"),
        pytest.param("", "4", signal.SIGINT, id="stopped while it waits for calls"),
    ],
)
def test_one_that_is_killed_or_stopped_is_never_used_and_the_next_is_whole(
    office: Office, point: str, limit: str, number: signal.Signals
) -> None:
    env = {**os.environ, **office.env, "CPR_FUSE": point, "QBT_RATE_LIMIT": limit}
    if not point:
        office.sandbox.client.set_faults([{"kind": "slow", "path": "/locations", "times": 1}])
    process = subprocess.Popen([sys.executable, "-c", TAKE], env=env, stderr=subprocess.DEVNULL)
    if not point:
        wait_until(lambda: pages_read(office) >= 3)
        process.send_signal(number)
    assert process.wait(30) == -number
    assert newest_run_id(office.app.db) is None
    next_one: list[int] = []

    def taken() -> bool:
        try:
            next_one.append(office.app.snapshot.take())
        except AlreadyRunning:
            return False
        return True

    wait_until(taken)
    assert exported(office, next_one[0]) == all_ids(office)
