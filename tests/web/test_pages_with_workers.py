"""What the buttons of the pages order, carried out by a real worker over a real broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import runs
from tests.board_pages import ROOT, Visitor, served
from tests.office import Office, job
from tests.own_valkey import own_valkey
from tests.pruning import names
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import clean_environment
from tests.web.test_pages import BRAKES, Place, hold_a_prune

PATIENCE = {"timeout_seconds": 60.0}


@contextmanager
def worker(office: Office) -> Iterator[None]:
    """Run one worker for the queues that people's orders go to."""
    command = [sys.executable, "-m", "celery", "-A", "cprqueue", "worker", "-c", "2"]
    process = subprocess.Popen(
        [*command, "-Q", "urgent,maintenance,upsert", "-l", "ERROR"],
        env=clean_environment(**office.env),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with killed_at_the_end(process):
        yield
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("board")
    with Sandbox(jobs=[]) as sandbox, own_valkey(directory) as port:
        url = f"redis://127.0.0.1:{port}/0"
        office = Office(sandbox, directory / "var", CELERY_BROKER_URL=url, **BRAKES)
        office.put(*(job(n, f"A-{n}") for n in range(1, 8)))
        with worker(office), served(office) as address:
            yield Place(office, address, url, 0, 0)
        office.close()


def state(office: Office, run_id: int) -> RunState:
    with office.app.db.read() as conn:
        return runs.existing(conn, run_id).state


def snapshots(office: Office) -> int:
    """Count the snapshots that were taken for a prune."""
    with office.app.db.read() as conn:
        taken = runs.newest_few(conn, RunKind.SNAPSHOT, limit=None)
    return len([run for run in taken if run.requested_by == "prune"])


def ordered(visitor: Visitor, path: str) -> str:
    """Press a button as soon as a worker answers; return where it leads."""
    answers = []

    def taken() -> bool:
        answers.append(visitor.press(path))
        return answers[-1].status_code != 503

    wait_until(taken, **PATIENCE)
    assert answers[-1].status_code == 303, answers[-1].text
    return answers[-1].headers["Location"]


def test_sync_now_shows_its_steps_until_the_last(place: Place) -> None:
    place.office.sandbox.rm.put_jobs([job(1, "A-1", jobZip="99999")])
    visitor = place.visitor()
    to = ordered(visitor, "/jobs/1/sync")
    assert to.startswith("/jobs/1?run=")
    wait_until(lambda: "Refresh" not in visitor.get(to).headers, **PATIENCE)
    text = visitor.see(to).text
    for step in ("found in RestorationManager", "rule", "recorded", "compared", "done"):
        assert f"✓ {step} :" in text
    assert "differs in zip" in text
    assert "resync, ordered by operator" in place.history(1)
    assert place.office.link(1).observed.address.zip == "99999"
    assert "zip 99999 99999 =" in text


def test_a_prune_is_approved_once_and_undone_with_the_name(place: Place) -> None:
    office, run_id = place.office, hold_a_prune(place.office, 3, 4)
    visitors, before = [place.visitor() for _ in range(3)], snapshots(office)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda each: each.press(f"/plans/{run_id}/approve"), visitors))
    first, *others = sorted(answer.status_code for answer in answers)
    assert first == 303
    assert set(others) <= {400, 409}  # approved already, or archived already
    wait_until(lambda: state(office, run_id) is RunState.DONE, **PATIENCE)
    assert {"A-3", "A-4"} <= names(office, active=False)
    assert snapshots(office) == before + 1
    assert f"approval of the prune of run {run_id}, ordered by operator" in place.history(3)
    visitor = visitors[0]
    assert "Undo" in visitor.see(f"/plans/{run_id}").text
    to = ordered(visitor, f"/plans/{run_id}/undo")
    wait_until(lambda: state(office, int(to.rpartition("/")[2])) is RunState.DONE, **PATIENCE)
    assert {"A-3", "A-4"} <= names(office, active=True)
    assert "Brought back: 2" in visitor.see(to).text
    assert f"undo of run {run_id}, ordered by operator" in place.history(3)


def test_what_could_not_be_brought_back_is_named(place: Place) -> None:
    office, visitor = place.office, place.visitor()
    run_id = hold_a_prune(office, 5, 6)
    assert ordered(visitor, f"/plans/{run_id}/approve") == f"/plans/{run_id}"
    wait_until(lambda: state(office, run_id) is RunState.DONE, **PATIENCE)
    office.sandbox.qbt.add_jobcode(name="A-5")  # somebody takes the name meanwhile
    to = ordered(visitor, f"/plans/{run_id}/undo")
    wait_until(lambda: state(office, int(to.rpartition("/")[2])) is RunState.DONE, **PATIENCE)
    text = visitor.see(to).text
    assert "Not wholly brought back: 1" in text
    assert "A-5 : stays archived" in text
