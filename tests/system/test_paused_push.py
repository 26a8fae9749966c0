"""A push that is suspended for longer than its lease, at any line, overwrites and doubles nothing.

While it is suspended another worker does its work, with newer numbers and addresses. A request
that is under way cannot be called back: whoever learns that it arrived late has it set right.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cprqueue.services.push import orphaned_creates
from tests.office import MakeOffice, Office, job
from tests.other_servers import new_database
from tests.real_processes import killed_at_the_end, wait_until
from tests.system.test_killed_push import POINTS

SETTINGS = {"CPR_LEASE_SECONDS": "1", "QBT_RATE_LIMIT": "5000", "QBT_RATE_WINDOW": "1"}

pytestmark = pytest.mark.settings(**SETTINGS)

PUSH = """
from cprqueue.bootstrap import application
print(application().push.push_due())
"""


@contextmanager
def worker(office: Office, failpoint: str = "") -> Iterator[subprocess.Popen[str]]:
    """Let one more worker push what is due, once."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUSH],
        env={**os.environ, **office.env, "CPR_FAILPOINTS": failpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_the_end(process):
        yield process


def suspended(process: subprocess.Popen[str]) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    assert process.poll() is None, process.communicate()
    return stat.rpartition(")")[2].split()[0] == "T"


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def change(office: Office, *items: dict[str, Any]) -> None:
    office.sandbox.rm.put_jobs(items)
    office.fetch()


def assert_promise(office: Office, number: int, *, doubles: int = 0) -> None:
    """Fail unless each job is in sync, and QuickBooks Time holds just that.

    ``doubles``: how many jobcodes and locations late requests made, archived since.
    """
    state = office.sandbox.qbt.state()
    assert office.broken() == []
    assert office.counts()["in_sync"] == number
    for kind in ("jobcodes", "locations"):
        assert len([row for row in state[kind] if row["active"]]) == number
        assert len(state[kind]) <= number + doubles


def begin(office: Office) -> None:
    """Have one of each kind of request to send: rename, new address, and new jobs."""
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    change(
        office,
        job(1, "B-1"),
        job(2, "A-2", jobAddress1="New Street 2"),
        *(job(n, f"A-{n}") for n in range(4, 8)),
    )


def change_everything(office: Office) -> None:
    """Have newer numbers and addresses in RM than those that were just sent."""
    change(
        office,
        job(1, "C-1"),
        job(2, "A-2", jobAddress1="Newest Street 2"),
        job(4, "D-4"),
        job(5, "A-5", jobAddress1="Newest Street 5"),
        job(6, "D-6", jobAddress1="Newest Street 6"),
    )


@pytest.mark.parametrize("newer", [False, True], ids=["same", "newer"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_suspended_at_any_line_changes_nothing_when_it_goes_on(
    office: Office, point: str, newer: bool
) -> None:
    begin(office)
    if point == "verified":
        rule = {"service": "qbt", "method": "POST", "kind": "lost", "times": 1}
        office.sandbox.client.set_faults([rule])
        office.ring()
    with worker(office, f"{point}:stop") as process:
        wait_until(lambda: suspended(process))
        if newer:
            change_everything(office)
        office.push()
        assert_promise(office, 7)
        process.send_signal(signal.SIGCONT)
        ended(process)
    office.push()
    assert_promise(office, 7)


@pytest.mark.parametrize("answer", ["answered", "lost"])
@pytest.mark.parametrize("newer", [False, True], ids=["same", "newer"])
@pytest.mark.parametrize(
    "request_", ["PUT_jobcodes", "POST_jobcodes", "POST_locations", "PUT_locations"]
)
def test_a_request_that_leaves_after_its_lease_all_the_same_is_set_right(
    office: Office, request_: str, newer: bool, answer: str
) -> None:
    begin(office)
    with worker(office, f"sending_{request_}:stop") as process:
        wait_until(lambda: suspended(process))
        if newer:
            change_everything(office)
        office.push()
        assert_promise(office, 7)
        if answer == "lost":
            lose_next_answer(office)
        process.send_signal(signal.SIGCONT)
        ended(process)
    office.push()
    assert_promise(office, 7, doubles=7)


def lose_next_answer(office: Office) -> None:
    writes = [{"service": "qbt", "method": m, "kind": "lost", "nth": [1]} for m in ("POST", "PUT")]
    office.sandbox.client.set_faults(writes)


@pytest.mark.parametrize("point", ["before_create_jobcode", "before_create_location"])
def test_thirty_jobs_of_a_suspended_worker_are_thirty_locations(office: Office, point: str) -> None:
    office.put(job(31, "A-31"))
    change(office, *(job(n, f"A-{n}") for n in range(1, 31)))
    with worker(office, f"{point}:stop") as process:
        wait_until(lambda: suspended(process))
        office.push()
        process.send_signal(signal.SIGCONT)
        ended(process)
    office.push()
    assert_promise(office, 31)


@pytest.fixture(params=["sqlite", "CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL"])
def any_office(request: pytest.FixtureRequest, make_office: MakeOffice) -> Iterator[Office]:
    """The office on each kind of database."""
    if request.param == "sqlite":
        yield make_office(**SETTINGS)
        return
    with new_database(request.param) as url:
        made = make_office(DATABASE_URL=url, **SETTINGS)
        made.settings.var_dir.mkdir(exist_ok=True)
        yield made


def test_thirty_late_addresses_do_not_stay_over_the_newer_ones(any_office: Office) -> None:
    office = any_office
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    change(office, *(job(n, f"A-{n}", jobAddress1=f"Old Street {n}") for n in range(1, 31)))
    with worker(office, "sending_PUT_locations:stop") as process:
        wait_until(lambda: suspended(process))
        change(office, *(job(n, f"A-{n}", jobAddress1=f"New Street {n}") for n in range(1, 31)))
        office.push()
        process.send_signal(signal.SIGCONT)
        ended(process)
    assert office.counts()["due"] == 30, "the late worker has them verified"
    office.push()
    assert_promise(office, 30)


def test_the_present_holder_cannot_end_a_job_that_a_late_request_has_touched(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    change(office, job(1, "A-1", jobAddress1="Old Street"))
    with worker(office, "sending_PUT_locations:stop") as late:
        wait_until(lambda: suspended(late))
        change(office, job(1, "A-1", jobAddress1="New Street"))
        wait_until(lambda: office.app.push.push_due() and office.link(1).lease is None)
        change(office, job(1, "A-1", jobAddress1="Newest Street"))
        with longer_lease(office), worker(office, "recorded_change_location:stop") as holder:
            wait_until(lambda: suspended(holder))
            late.send_signal(signal.SIGCONT)
            ended(late)
            holder.send_signal(signal.SIGCONT)
            ended(holder)
    assert office.link(1).state == "due"
    office.push()
    assert_promise(office, 3)


@contextmanager
def longer_lease(office: Office) -> Iterator[None]:
    """Give the workers that start in the block a lease that outlives any suspension."""
    before = office.env["CPR_LEASE_SECONDS"]
    office.env["CPR_LEASE_SECONDS"] = "600"
    yield
    office.env["CPR_LEASE_SECONDS"] = before


@pytest.mark.parametrize("answer", ["answered", "lost"])
def test_a_jobcode_that_is_created_late_for_a_job_that_closed_is_linked(
    office: Office, answer: str
) -> None:
    office.put(job(1, "A-1"))
    change(office, job(2, "A-2"))
    with worker(office, "sending_POST_jobcodes:stop") as process:
        wait_until(lambda: suspended(process))
        change(office, job(2, "A-2", jobProgress="Lost Lead"))
        wait_until(lambda: settle(office) or office.link(2).intent is None)
        if answer == "lost":
            lose_next_answer(office)
        process.send_signal(signal.SIGCONT)
        ended(process)
    wait_until(lambda: settle(office))
    made = [c["id"] for c in office.sandbox.qbt.state()["jobcodes"] if c["name"] == "A-2"]
    assert [office.link(2).jobcode_id] == made, "so the next prune archives it"


def settle(office: Office) -> int:
    qbt = office.app.push.work.qbt
    return orphaned_creates.settle(office.app.db, qbt, quiet=timedelta(0))
