"""Orders that are interrupted, doubled or late, as an operator gives them at a terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import ColumnElement, update

from cprqueue.domain.states import RunKind, RunState
from cprqueue.store.database import now_ms
from cprqueue.store.tables import call_slots
from tests.place import Place, names, running_place
from tests.real_processes import wait_until
from tests.running import errors, on_terminal


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("orders")) as place:
        yield place


@pytest.fixture
def place(running: Place) -> Place:
    """The running installation with 120 jobs, all open and in step."""
    running.begin_anew(120)
    return running


def slow(place: Place, method: str, seconds: float = 1.5, **rule: object) -> None:
    """Let each request for jobcodes take its time; it acts at once."""
    common = {"kind": "slow", "service": "qbt", "path": "/jobcodes", "act": True}
    place.sandbox.client.set_faults([{**common, "method": method, "seconds": seconds, **rule}])


def quick(place: Place) -> None:
    place.sandbox.client.clear_faults()


def running_id(place: Place, kind: RunKind, *states: RunState) -> int:
    """Return the run of this kind that is in one of these states; 0 without one."""
    run = place.newest(kind)
    return run.run_id if run is not None and run.state in states else 0


def test_an_order_that_is_withdrawn_by_ctrl_c_archives_nothing_however_late_it_comes(
    place: Place,
) -> None:
    place.close(range(1, 6))
    before = running_id(place, RunKind.PRUNE, *RunState)
    slow(place, "GET", 4)

    def ordered() -> bool:
        found = running_id(place, RunKind.PRUNE, RunState.QUEUED)
        snapshot = running_id(place, RunKind.SNAPSHOT, RunState.RUNNING)
        return found > before and snapshot > found

    code, said = place.interrupt(ordered, "prune", "run")
    withdrawn = place.newest(RunKind.PRUNE)
    assert withdrawn is not None
    line = f"prune {withdrawn.run_id} is withdrawn: nothing was archived"
    assert (code, said) == (130, [line])
    quick(place)
    code, report, _ = place.run("prune", "run")
    assert (code, report["note"]) == (0, "5 archived")
    assert place.run("undo", str(report["run_id"]))[1]["restored"] == 5
    assert place.run("snapshot")[0] == 0  # whatever was queued before it has come
    assert place.archived() == set()
    assert place.state_of(withdrawn.run_id) == "stopped"


def test_ctrl_c_in_a_prune_that_has_begun_to_archive_says_what_goes_on(place: Place) -> None:
    place.close(range(1, 6))
    slow(place, "PUT")
    code, (line,) = place.interrupt(place.archived, "prune", "run")
    run_id = running_id(place, RunKind.PRUNE, *RunState)
    assert code == 130
    assert line.startswith(f"stopped waiting: prune {run_id} goes on: see `cprqueue prune show ")
    quick(place)
    wait_until(lambda: place.state_of(run_id) == "done")
    assert place.archived() == names(range(1, 6))


def test_on_a_terminal_a_prune_shows_its_plan_and_asks(place: Place) -> None:
    place.close(range(1, 4))
    before = place.rows()
    code, shown = on_terminal(place.system, "prune", "run", answer="n")
    assert code == 1
    for words in ("Would be archived: 3", "A-2", "Archive 3 jobcodes", "nothing was archived"):
        assert words in shown
    assert (place.archived(), place.rows()) == (set(), before + 1)  # the snapshot
    code, shown = on_terminal(place.system, "prune", "run", answer="y")
    assert (code, place.archived()) == (0, names(range(1, 4))), shown
    run_id = running_id(place, RunKind.PRUNE, RunState.DONE)
    code, shown = on_terminal(place.system, "prune", "run")
    assert (code, "Archive" in shown) == (0, False), "nothing to ask about"
    # an undo that nobody waits for is a worker's; so is a remove-all
    code, queued, _ = place.run("undo", str(run_id), "--no-wait")
    assert (code, queued["state"]) == (0, "queued")
    wait_until(lambda: place.state_of(queued["run_id"]) == "done")
    assert place.archived() == set()
    phrase = place.run("remove-all")[1]["phrase"]
    code, queued, _ = place.run("remove-all", "--no-wait", "--confirm", phrase)
    assert (code, queued["state"]) == (0, "queued")
    wait_until(lambda: place.state_of(queued["run_id"]) == "done")
    assert place.run("undo", str(queued["run_id"]))[1]["restored"] == 120


def _use_up_calls(place: Place, moment: ColumnElement[int] | int) -> None:
    """Let every call of the budget have been made at that moment."""
    with place.db.begin() as conn:
        conn.execute(update(call_slots).values(used_at_ms=moment))


def test_an_undo_waits_no_longer_than_it_may(place: Place) -> None:
    place.close(range(1, 4))
    report = place.run("prune", "run")[1]
    _use_up_calls(place, now_ms())
    code, _, (line,) = place.run("undo", str(report["run_id"]), "--timeout", "0")
    assert (code, "has not ended after 0 s" in line) == (3, True)
    assert place.archived() == names(range(1, 4))
    _use_up_calls(place, 0)
    place.sweep_until(lambda: not place.archived())


def test_ctrl_c_in_a_snapshot_says_what_goes_on(place: Place) -> None:
    slow(place, "GET")
    at_work = lambda: running_id(place, RunKind.SNAPSHOT, RunState.RUNNING)  # noqa: E731
    code, (line,) = place.interrupt(at_work, "snapshot")
    run_id = running_id(place, RunKind.SNAPSHOT, *RunState)
    quick(place)
    assert (code, line) == (
        130,
        f"stopped waiting: snapshot {run_id} goes on: see `cprqueue history`",
    )
    wait_until(lambda: place.state_of(run_id) == "done")


def test_a_second_order_is_refused_by_name_and_an_undo_of_the_first_ends_it(place: Place) -> None:
    slow(place, "GET", 20, path="/timesheets", nth=[2])  # before the second step
    with place.started("remove-all", "--confirm", "REMOVE MANAGED 120") as removal:
        wait_until(place.archived)
        run_id = running_id(place, RunKind.REMOVE_ALL, RunState.RUNNING)
        for words in (("prune", "run"), ("remove-all", "--confirm", "REMOVE MANAGED 120")):
            done = place.system.run(*words)
            (line,) = errors(done.stderr)
            assert done.returncode == 1
            assert line.startswith(f"remove-all {run_id} is running: wait for its end, or end it")
        quick(place)
        undone = place.system.run("undo", str(run_id))
        assert f"remove-all {run_id} was running: it ends here" in undone.stderr
        assert undone.returncode == 0
        removal.wait(30)
    assert place.archived() == set()
    assert place.broken() == []


def test_ctrl_c_stops_an_undo_and_the_same_command_continues_it(place: Place) -> None:
    code, done, _ = place.run("remove-all", "--confirm", "REMOVE MANAGED 120")
    assert code == 0
    run_id = str(done["run_id"])
    slow(place, "PUT", 1.5)
    begun = lambda: len(place.archived()) < 120  # noqa: E731
    code, (line,) = place.interrupt(begun, "undo", run_id)
    quick(place)
    undo_id = running_id(place, RunKind.UNDO, RunState.STOPPED)
    assert (code, line) == (
        130,
        f"undo {undo_id} stopped, 0 restored: `cprqueue undo {run_id}` continues it",
    )
    wait_until(lambda: place.run("undo", run_id)[1].get("run_id") == undo_id)
    assert place.archived() == set()
    assert place.broken() == []


def test_a_plan_is_made_on_what_quickbooks_time_holds_now(place: Place) -> None:
    place.close(range(1, 5))
    code, plan, _ = place.run("prune", "plan")
    assert (code, {row["job_number"] for row in plan["archive"]}) == (0, names(range(1, 5)))
    code, report, _ = place.run("prune", "run")
    assert {row["job_number"] for row in report["archive"]} == names(range(1, 5))
    for words in (("prune", "plan"), ("prune", "plan", "--no-snapshot")):
        assert place.run(*words)[1]["archive"] == []
    said = place.system.run("prune", "plan", "--no-snapshot").stderr
    assert "planned on the snapshot of run " in said
    assert " ago" in said


def test_a_long_plan_is_shown_whole_on_request(place: Place) -> None:
    code, done, _ = place.run("remove-all", "--confirm", "REMOVE MANAGED 120")
    run_id = str(done["run_id"])
    short = place.system.run("prune", "show", run_id).stdout
    assert short.count("archived") < 100
    assert f"60 more: cprqueue prune show {run_id} --all" in short
    whole = place.system.run("prune", "show", run_id, "--all").stdout
    assert all(f"A-{n} " in whole for n in range(1, 121))
    code, _, (line,) = place.run("undo", run_id, "Nope-1", "A-1")
    assert (code, line) == (2, f"run {run_id} archived no Nope-1")
    assert place.run("undo", run_id)[1]["restored"] == 120


def test_an_approved_plan_is_not_shown_as_refused_any_more(place: Place) -> None:
    place.close(range(1, 51))
    code, held, _ = place.run("prune", "run")
    assert (code, held["state"]) == (1, "held")
    assert "50 of 120 managed jobcodes" in held["tripped"]
    code, approved, _ = place.run("prune", "approve", str(held["run_id"]))
    assert (code, approved["state"], approved["tripped"]) == (0, "done", None)


def test_an_order_that_nobody_waits_for_says_which_run_it_is(place: Place) -> None:
    place.close(range(1, 3))
    code, queued, _ = place.run("prune", "run", "--no-wait")
    assert (code, queued["state"]) == (0, "queued")
    wait_until(lambda: place.state_of(queued["run_id"]) == "done")
    assert place.archived() == names(range(1, 3))


@pytest.mark.parametrize("point", ["before_archive", "after_archive"])
def test_a_worker_that_was_suspended_archives_nothing_that_was_undone(
    tmp_path: Path, point: str
) -> None:
    with running_place(tmp_path, CPR_FAILPOINTS=f"{point}:stop") as place:
        place.begin_anew(60)
        words = ("remove-all", "--confirm", "REMOVE MANAGED 60")
        with place.started(*words) as removal:
            wait_until(lambda: place.suspended())
            (pid,) = place.suspended()
            run_id = running_id(place, RunKind.REMOVE_ALL, RunState.RUNNING)
            code, undone, _ = place.run("undo", str(run_id))
            os.kill(pid, signal.SIGCONT)
            removal.wait(30)
        assert (code, undone["lost"]) == (0, [])
        place.sweep_until(lambda: place.run("snapshot")[0] == 0)  # the suspended task has ended
        place.sweep_until(lambda: not place.live())
        assert place.archived() == set()
        assert place.broken() == []
