"""``cprqueue sync`` end to end: 2,000 jobs through real workers, and every bad answer of RM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.audit import audit
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import schema
from cprqueue.store.database import Database
from tests.running import System, Up

JOBS = 2000
LISTING = 2  # jobcodes and locations are read once before the first push


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with Sandbox(jobs=JOBS) as sandbox:
        yield System(tmp_path_factory.mktemp("sync"), sandbox)


@pytest.fixture(scope="module")
def up(system: System) -> Iterator[Up]:
    with system.up("--no-beat", "--no-flower") as running:
        yield running


@pytest.fixture(scope="module")
def first(system: System, up: Up) -> dict[str, Any]:
    """What the first sync of all said."""
    return system.sync()


def test_a_first_sync_makes_each_active_job_one_jobcode_with_one_location(
    system: System, first: dict[str, Any]
) -> None:
    found = audit(system.sandbox.rm.jobs(), system.sandbox.qbt.state())
    assert found.wrong == []
    assert found.leftover == 0
    assert found.right > 1400
    assert (first["emitted"], first["recorded"], first["due"]) == (JOBS, JOBS, 0)
    assert (first["in_sync"], first["parked"]) == (found.right, found.unfit)
    assert first["code"] == 1  # some are parked, so that somebody looks


def test_a_first_sync_costs_hardly_more_calls_than_the_least_possible(
    system: System, first: dict[str, Any]
) -> None:
    found = audit(system.sandbox.rm.jobs(), system.sandbox.qbt.state())
    least = math.ceil(found.right / 50) + math.ceil(found.with_location / 50) + LISTING
    made = len(system.sandbox.call_log.select("qbt"))
    assert made == first["calls"]
    assert made <= 1.05 * least


def test_a_second_sync_writes_nothing(system: System, first: dict[str, Any]) -> None:
    before = system.writes()
    second = system.sync("--full")
    assert (second["emitted"], second["due"], second["calls"]) == (JOBS, 0, 0)
    assert system.writes() == before


FULL = {"service": "rm", "path": "/api/Jobs"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param({"kind": "cut"}, "cut short|no complete answer", id="cut short"),
        pytest.param({"kind": "html"}, "not JSON", id="a page instead"),
        pytest.param({"kind": "status", "status": 200, "body": " "}, "empty|not JSON", id="empty"),
        pytest.param({"kind": "status", "status": 200, "body": "[]"}, "no job at all", id="no job"),
        pytest.param({"kind": "status", "status": 200, "body": '{"a": 1}'}, "list", id="no list"),
        pytest.param({"kind": "status", "status": 401}, "401", id="401 for good"),
        pytest.param({"kind": "status", "status": 500}, "500", id="500"),
        pytest.param({"kind": "drop"}, "RestorationManager", id="no answer"),
    ],
)
def test_a_bad_answer_fails_the_run_in_one_line_and_changes_nothing(
    system: System, first: dict[str, Any], fault: dict[str, Any], said: str
) -> None:
    writes, kept = system.writes(), (system.var / "cpr_all_jobs.json").read_bytes()
    system.sandbox.faults.set([FULL | fault])
    failed = system.sync("--full")
    system.sandbox.faults.clear()
    assert failed["code"] == 1
    assert len(failed["error"]) == 1
    assert any(words in failed["error"][0] for words in said.split("|")), failed["error"]
    assert system.writes() == writes
    assert (system.var / "cpr_all_jobs.json").read_bytes() == kept
    assert list(system.var.glob("*.part")) == []


@pytest.mark.parametrize(
    ("fault", "switches"),
    [
        pytest.param({"kind": "slow", "seconds": 1}, {}, id="slow"),
        pytest.param({"kind": "status", "status": 401, "times": 1}, {}, id="401 once"),
        pytest.param(None, {"wrapping": "results"}, id="wrapped"),
    ],
)
def test_an_odd_answer_is_a_good_one_whatever_came_before(
    system: System, first: dict[str, Any], fault: dict[str, Any] | None, switches: dict[str, Any]
) -> None:
    before = {"wrapping": "none"}
    system.sandbox.faults.set([FULL | fault] if fault else [])
    system.sandbox.rm.switches.update(switches)
    result = system.sync()
    system.sandbox.faults.clear()
    system.sandbox.rm.switches.update(before)
    assert result["error"] == []
    assert result["due"] == 0


def test_without_waiting_it_only_gives_the_order(system: System, first: dict[str, Any]) -> None:
    result = system.sync("--no-wait")
    assert result["code"] == 0
    assert result["run_id"] > first["run_id"]


def test_out_of_time_is_an_exit_code_of_its_own(system: System, first: dict[str, Any]) -> None:
    system.sandbox.faults.set([FULL | {"kind": "slow", "seconds": 3}])
    result = system.sync("--full", "--timeout", "0.5")
    system.sandbox.faults.clear()
    assert result["code"] == 3
    assert len(result["error"]) == 1


@pytest.fixture
def idle(system: System, tmp_path: Path) -> System:
    """An installation with tables, where nothing runs."""
    alone = System(tmp_path, system.sandbox)
    db = Database(f"sqlite:///{alone.var / 'cprqueue.db'}")
    schema.upgrade(db)
    db.close()
    return alone


def test_without_a_broker_it_says_so(idle: System) -> None:
    result = idle.sync()
    assert result["code"] == 3
    assert len(result["error"]) == 1
    assert "cprqueue up" in result["error"][0]


@pytest.mark.parametrize("waiting", ["--wait", "--no-wait"])
def test_a_dead_broker_is_one_line_without_its_password(idle: System, waiting: str) -> None:
    done = idle.run("sync", waiting, CELERY_BROKER_URL="redis://:secret@127.0.0.1:1/0")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_without_a_worker_it_says_so(idle: System, up: Up, system: System) -> None:
    """The broker answers; database 7 of it has no workers."""
    socket = system.var / "broker" / "broker.sock"
    url = f"redis+socket://{socket}?virtual_host=7"
    done = idle.run("sync", CELERY_BROKER_URL=url)
    assert done.returncode == 3
    assert done.stderr == "error: no worker answers: start `cprqueue up`\n"


def test_before_the_first_start_it_says_what_to_do(system: System, tmp_path: Path) -> None:
    result = System(tmp_path, system.sandbox).sync()
    assert result["code"] == 2
    assert "cprqueue up" in result["error"][0]
