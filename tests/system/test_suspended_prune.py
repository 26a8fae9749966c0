"""An archive or undo that is suspended for longer than its lease, with other work meanwhile.

Nothing may leave once the lock and the leases are over; what was on its way then is put right.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from cprqueue.errors import Transient
from cprqueue.services.prune import lost_orders
from tests.office import Office, job
from tests.pruning import close, fault, names, order, outcomes, remove_all, run_of
from tests.real_processes import wait_until

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000", CPR_LEASE_SECONDS="1")

AT_ONCE = timedelta(seconds=-1)
ARCHIVING = ("before_archive", "after_archive", "recorded_archive")
PRUNE = "prune.run({}, None)"
REMOVE = "remove_all.run({})"
UNDO = "undo.run({})"


@contextmanager
def a_process(office: Office, call: str, failpoint: str = "") -> Iterator[subprocess.Popen[str]]:
    """Do ``call`` on the office's installation in a process of its own."""
    code = f"from cprqueue.bootstrap import application; application().{call}"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **office.env, "CPR_FAILPOINTS": failpoint},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def state(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_free(office: Office) -> bool:
    """Tell whether the lock that a suspended process had has expired."""
    try:
        with office.app.archive.alone():
            return True
    except Transient:
        return False


def suspended(office: Office, call: str, point: str, meanwhile: Callable[[], object]) -> None:
    """Suspend a process at a failpoint until its lock has expired; do something; let it go on."""
    with a_process(office, call, f"{point}:stop") as process:
        wait_until(lambda: state(process) == "T")
        wait_until(lambda: is_free(office))
        meanwhile()
        process.send_signal(signal.SIGCONT)
        process.wait(30)


def prune_again(office: Office, run_id: int) -> None:
    office.app.snapshot.take()
    office.app.prune.run(run_id, None)


def settle(office: Office, run_id: int) -> None:
    """Do what the sweep and the workers do, until nobody has anything to do any more."""
    tasks: dict[str, Callable[[int], object]] = {
        "cpr.undo": office.app.undo.run,
        "cpr.remove_all": office.app.remove_all.run,
        "cpr.snapshot_and_prune": lambda id_: prune_again(office, id_),
    }

    def done() -> bool:
        office.push()
        for task, words in lost_orders.find(office.app.db, quiet=AT_ONCE):
            try:
                tasks[task](words["run_id"])
            except Transient:
                return False
        return str(run_of(office, run_id).state) == "done"

    wait_until(done)
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == []
    office.push()


def undo(office: Office, run_id: int) -> None:
    office.app.undo.run(office.app.undo.request(run_id))


def reopen(office: Office, *numbers: int) -> None:
    office.put(*(job(n, f"A-{n}", jobAddress1=f"{n} New Road") for n in numbers))


def have(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


@pytest.mark.parametrize("point", ARCHIVING)
def test_a_job_that_is_reopened_while_its_archiver_is_suspended_stays(
    office: Office, point: str
) -> None:
    have(office, 20)
    close(office, 1, 2, 3)
    run_id = order(office)
    suspended(office, PRUNE.format(run_id), point, lambda: reopen(office, 1, 2))
    settle(office, run_id)
    assert office.broken() == []
    assert names(office, active=False) == {"A-3"}


@pytest.mark.parametrize("point", ARCHIVING)
@pytest.mark.parametrize("kind", ["prune", "remove-all"])
def test_an_undo_while_the_archiver_is_suspended_has_the_last_word(
    office: Office, point: str, kind: str
) -> None:
    have(office, 20)
    if kind == "prune":
        close(office, 1, 2, 3)
    run_id = order(office) if kind == "prune" else remove_all(office)
    call = (PRUNE if kind == "prune" else REMOVE).format(run_id)
    suspended(office, call, point, lambda: undo(office, run_id))
    settle(office, run_id)
    assert names(office, active=False) == set()
    assert set(outcomes(office, run_id)) <= {"restored", "dropped"}
    if kind == "remove-all":
        assert office.broken() == []


def late(office: Office, call: str, meanwhile: Callable[[], object]) -> None:
    """Have the PUT of a process on its way until its lock has expired, and something was done."""
    slow = {"kind": "slow", "method": "PUT", "path": "/jobcodes", "seconds": 4, "act": False}
    fault(office, **slow, times=1)
    with a_process(office, call) as process:
        wait_until(lambda: office.sandbox.client.faults()[0]["used"])
        os.kill(process.pid, signal.SIGSTOP)  # so that it cannot renew anything
        wait_until(lambda: is_free(office))
        meanwhile()
        os.kill(process.pid, signal.SIGCONT)
        process.wait(30)
    office.sandbox.client.clear_faults()


@pytest.mark.parametrize("kind", ["prune", "remove-all"])
def test_an_archive_that_arrives_after_the_undo_is_undone_too(office: Office, kind: str) -> None:
    have(office, 20)
    if kind == "prune":
        close(office, 1, 2, 3)
    run_id = order(office) if kind == "prune" else remove_all(office)
    call = (PRUNE if kind == "prune" else REMOVE).format(run_id)
    late(office, call, lambda: undo(office, run_id))
    assert len(names(office, active=False)) == (3 if kind == "prune" else 20)
    settle(office, run_id)
    assert names(office, active=False) == set()
    assert outcomes(office, run_id) == {"restored": 3 if kind == "prune" else 20}
    if kind == "remove-all":
        assert office.broken() == []


def test_an_archive_that_arrives_after_its_job_was_reopened_is_put_right(office: Office) -> None:
    have(office, 20)
    close(office, 1, 2, 3)
    run_id = order(office)
    late(office, PRUNE.format(run_id), lambda: reopen(office, 1, 2))
    settle(office, run_id)
    assert office.broken() == []


def undone_of(office: Office) -> int:
    """Have a removed office and request its undo."""
    have(office, 20)
    run_id = remove_all(office)
    office.app.remove_all.run(run_id)
    return office.app.undo.request(run_id)


@pytest.mark.parametrize("point", ["before_restore", "after_restore", "recorded_restore"])
@pytest.mark.parametrize("switches", [{}, {"archive_drops_links": True}], ids=["kept", "dropped"])
def test_an_undo_that_is_suspended_is_continued_by_a_worker(
    office: Office, point: str, switches: dict[str, bool]
) -> None:
    office.sandbox.qbt.switches.update(switches)
    undo_id = undone_of(office)
    suspended(office, UNDO.format(undo_id), point, lambda: office.app.undo.run(undo_id))
    settle(office, undo_id)
    assert office.broken() == []
    assert names(office, active=False) == set()


@pytest.mark.parametrize("point", ["before_restore", "after_restore", "recorded_restore"])
def test_an_undo_that_is_killed_is_continued_by_a_worker(office: Office, point: str) -> None:
    undo_id = undone_of(office)
    with a_process(office, UNDO.format(undo_id), point) as process:
        assert process.wait(30) == -signal.SIGKILL
    settle(office, undo_id)
    assert office.broken() == []
    assert run_of(office, undo_id).recorded == 20


def test_a_restore_that_arrives_after_the_job_was_renamed_is_put_right(office: Office) -> None:
    undo_id = undone_of(office)

    def go_on() -> None:
        office.app.undo.run(undo_id)
        office.put(job(1, "B-1"), job(2, "A-2", jobAddress1="2 New Road"))

    late(office, UNDO.format(undo_id), go_on)
    settle(office, undo_id)
    assert office.broken() == []
