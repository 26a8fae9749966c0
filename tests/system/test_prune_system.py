"""Prune, undo and remove-all as an operator meets them: commands, and real worker processes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.prune import months
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.office import job
from tests.place import ENV, MANY, Place, comparable, names, order_until, running_place
from tests.real_processes import wait_until
from tests.running import System


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("prune")) as place:
        yield place


@pytest.fixture
def place(running: Place) -> Place:
    """The running installation with 200 jobs, all open and in step."""
    running.begin_anew(200)
    return running


def test_a_plan_writes_nothing_and_a_run_archives_exactly_the_closed_ones(place: Place) -> None:
    qbt = place.sandbox.qbt
    for name in ("Shop", "Yard", "Training"):
        qbt.add_jobcode(name=name)
    qbt.add_jobcode(name="Vacation", type="pto")
    parent = next(c["id"] for c in qbt.state()["jobcodes"] if c["name"] == "A-6")
    child = qbt.add_jobcode(name="Phase 1", parent_id=parent)
    place.close(range(1, 7))
    writes, rows = place.system.writes(), place.rows()
    code, plan, _ = place.run("prune", "plan")
    assert (place.system.writes(), place.rows(), code) == (writes, rows + 1, 0)  # a snapshot
    assert set(plan) == {"run_id", "archive", "held_back", "unmanaged", "limit", "tripped"}
    assert (plan["run_id"], plan["limit"], plan["tripped"]) == (None, 40, None)
    assert {row["job_number"] for row in plan["archive"]} == names(range(1, 6))
    assert [row["reason"] for row in plan["held_back"]] == ["has an active child: Phase 1"]
    assert plan["unmanaged"] == 5

    before = comparable(qbt.state())
    code, report, _ = place.run("prune", "run")
    assert (code, report["state"], report["note"]) == (0, "done", "5 archived, 1 held back")
    assert place.archived() == names(range(1, 6))
    code, shown, _ = place.run("prune", "show", str(report["run_id"]))
    assert (code, shown) == (0, report)

    code, part, _ = place.run("undo", str(report["run_id"]), "A-2")
    assert (code, part["restored"]) == (0, 1)
    assert place.archived() == names(range(1, 6)) - {"A-2"}
    code, whole, _ = place.run("undo", str(report["run_id"]))
    assert (code, whole["restored"], whole["lost"]) == (0, 4, [])
    assert comparable(qbt.state()) == before
    qbt.change_jobcode(child, active=False)


def test_too_many_are_held_and_an_approval_takes_those_and_not_one_more(place: Place) -> None:
    place.close(range(1, 91))
    code, held, said = place.run("prune", "run")
    run_id = str(held["run_id"])
    assert (code, held["state"], place.archived()) == (1, "held", set())
    (line,) = said
    assert "90 of 200 managed jobcodes would leave (45%), the limit is 40: A-1, A-10, " in line
    assert line.endswith(f"To archive exactly these: cprqueue prune approve {run_id}")
    place.close(range(91, 95))

    place.sandbox.client.set_faults([{"kind": "garbled", "service": "qbt", "path": "/jobcodes"}])
    code, refused, said = place.run("prune", "approve", run_id)
    place.sandbox.client.clear_faults()
    assert (code, refused["state"], place.archived()) == (1, "held", set())
    assert said[0].startswith("not approved: its snapshot failed: ")

    code, approved, _ = place.run("prune", "approve", run_id)
    assert (code, approved["note"]) == (0, "90 archived")
    assert place.archived() == names(range(1, 91))
    assert place.run("prune", "approve", run_id)[0] == 2


ANSWERS: dict[str, dict[str, Any]] = {
    "empty": {"kind": "html", "body": "[]", "status": 200},
    "garbage": {"kind": "garbled"},
    "cut short": {"kind": "cut"},
}


def _refused(place: Place) -> str:
    writes = place.system.writes()
    code, report, said = place.run("prune", "run")
    assert (code, report["state"]) == (1, "failed")
    assert place.system.writes() == writes
    assert place.archived() == set()
    (line,) = said
    assert line.count("\n") == 0
    return line


def test_a_wrong_answer_of_restoration_manager_lets_nothing_leave(place: Place) -> None:
    place.close(range(1, 4))
    for fault in ANSWERS.values():
        place.sandbox.client.set_faults([{**fault, "service": "rm", "path": "/api/Jobs"}])
        assert place.system.sync("--full")["code"] != 0
        place.sandbox.client.clear_faults()
        assert "the last complete fetch (run " in _refused(place)
    kept = place.sandbox.rm.jobs()
    place.sandbox.rm.delete_jobs(range(101, 201))
    assert place.system.sync("--full")["code"] == 0
    assert "has 100 jobs where one before had 200" in _refused(place)
    place.sandbox.rm.put_jobs(kept)
    assert place.system.sync("--full")["code"] == 0
    assert place.run("prune", "run")[1]["note"] == "3 archived"


def _remove_all(place: Place, phrase: str) -> tuple[int, dict[str, Any], list[str]]:
    return place.run("remove-all", "--confirm", phrase)


def test_remove_all_rehearses_is_stopped_resumed_and_undone(place: Place) -> None:
    qbt = place.sandbox.qbt
    before, writes = comparable(qbt.state()), place.system.writes()
    code, seen, _ = place.run("remove-all")
    assert (code, seen["managed"], seen["phrase"]) == (0, 200, "REMOVE MANAGED 200")
    code, _, said = _remove_all(place, "REMOVE MANAGED 199")
    assert (code, place.system.writes()) == (2, writes)
    assert "REMOVE MANAGED 200" in said[0]

    _stop_in_the_middle(place)
    assert 0 < len(place.archived()) < 200
    assert "suspended by the remove-all" in place.system.run("status").stdout
    code, done, _ = _remove_all(place, seen["phrase"])
    assert (code, done["note"]) == (0, "200 archived")
    assert place.archived() == names(range(1, 201))

    place.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="7 New Street")])
    ordinary = place.system.sync()
    assert ordinary["code"] == 3
    assert "suspended by the remove-all" in ordinary["error"][0]
    assert place.archived() == names(range(1, 201))
    place.sandbox.rm.put_jobs([job(1, "A-1")])

    code, undone, _ = place.run("undo", str(done["run_id"]))
    assert (code, undone["restored"], undone["lost"]) == (0, 200, [])
    assert comparable(qbt.state()) == before
    assert "suspended" not in place.system.run("status").stdout


def _stop_in_the_middle(place: Place) -> None:
    """Start the removal, send Ctrl-C after its first step, and wait until it has stopped."""
    slow = {"kind": "slow", "method": "PUT", "path": "/jobcodes", "seconds": 1.5}
    place.sandbox.client.set_faults([{**slow, "act": True}])
    with place.started("remove-all", "--confirm", "REMOVE MANAGED 200", "--json") as process:
        wait_until(place.archived)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    place.sandbox.client.clear_faults()
    report = json.loads(printed)
    assert (process.returncode, report["state"]) == (1, "stopped")
    assert report["note"].startswith("stopped: ")


def test_a_full_sync_brings_removed_jobs_back(place: Place) -> None:
    code, done, _ = _remove_all(place, "REMOVE MANAGED 200")
    assert (code, done["note"]) == (0, "200 archived")
    assert place.system.sync("--full")["code"] == 0
    assert place.archived() == set()
    assert place.broken() == []


POINTS = ("written_export", "stored_plan", "after_archive")


def owe_this_month(place: Place) -> None:
    """Let the system be older than this month."""
    with place.db.begin() as conn:
        before = months.month_start(clock(conn), "UTC")
        runs.create(conn, RunKind.FETCH, now=before, state=RunState.DONE)


def month_run(place: Place) -> Any:
    with place.db.read() as conn:
        return next(iter(runs.newest_few(conn, RunKind.PRUNE, limit=1)), None)


def test_a_month_that_is_killed_anywhere_is_finished_by_the_next_order(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Sandbox(jobs=[job(n, f"A-{n}") for n in range(1, 61)]) as sandbox:
        sandbox.qbt.switches.update({"rate_limit": int(MANY)})
        system = System(tmp_path_factory.mktemp("killed"), sandbox, **ENV)
        system.env["CPR_FAILPOINTS"] = ",".join(POINTS)
        with system.up("--no-flower", "--no-beat"):
            place = Place(system)
            place.sync()
            place.close(range(1, 8))
            owe_this_month(place)
            spent = [system.var / f"failpoint-{point}-spent" for point in POINTS]
            spent[0].unlink()  # the first export died of it too
            order_until(place, ("cpr.sweep", "cpr.snapshot_and_prune"), spent[1].exists)
            assert spent[0].exists()
            place.close(range(8, 9))
            order_until(
                place,
                ("cpr.sweep", "cpr.snapshot_and_prune"),
                lambda: getattr(month_run(place), "state", "") == "done",
            )
            assert spent[2].exists()
            items = place.items(month_run(place).run_id)
            assert place.archived() == names(range(1, 8))
            assert {item.job_number for item in items} == names(range(1, 8))
            assert {item.outcome for item in items} == {"archived"}
            assert all(item.state_before.name == item.name for item in items)
            with place.db.read() as conn:
                assert len(runs.newest_few(conn, RunKind.PRUNE, limit=9)) == 1
            place.db.close()
