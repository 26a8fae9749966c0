"""A database and a broker that an older version left go on with this one, in mid-work.

What it left, and how it was made: ``data/make.py``. Add to it when a later version leaves
something new behind; what is there stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.audit import Audit, audit
from tests.real_processes import wait_until
from tests.running import System, Up
from tests.system.left_behind import LeftBehind, load, messages_left

UNTAKEN = ("Traceback", "unregistered", "Received unknown", "refused", "Discard", "damaged")


@contextmanager
def taken_over(left: LeftBehind, directory: Path, url: str) -> Iterator[tuple[System, Up]]:
    """Run this version on what was left; fail if any message was not taken, or any log is wild."""
    with left.sandbox() as sandbox:
        system = System(directory, sandbox, **({"DATABASE_URL": url} if url else {}))
        left.write(system.var, url)
        with system.up("--no-flower") as up:
            yield system, up
            wait_until(lambda: messages_left(system.var) == 0, timeout_seconds=60)
        wild = [line for line in up.err if any(word in line for word in UNTAKEN)]
        assert wild == [], "".join(up.err[-200:])


def found(system: System, *words: str, code: int = 0) -> Any:
    done = system.run(*words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def in_step(system: System) -> Audit:
    """Audit both services; nothing may be wrong, doubled or missing."""
    jobs, state = system.sandbox.rm.jobs(), system.sandbox.qbt.state()
    seen = audit(jobs, state)
    assert seen.wrong == []
    return seen


def synced(system: System, left: LeftBehind) -> Audit:
    """Sync to the end: all in step but the four that never fit, and the old runs are known."""
    result = system.sync("--full", "--timeout", "150")
    told = (result["code"], result["due"], result["parked"], result["error"])
    assert told == (1, 0, 4, []), result
    known = {(run["run_id"], run["kind"]) for run in found(system, "history", "--limit", "1000")}
    assert set(left.rows("SELECT run_id, kind FROM runs")) <= known
    assert found(system, "status")["jobs"]["due"] == 0
    return in_step(system)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_system_that_was_killed_in_mid_sync_goes_on(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else ""
    left = load("killed")
    ((observed,),) = left.rows("SELECT run_id FROM runs WHERE kind = 'prune'")
    with taken_over(left, tmp_path, url) as (system, _):
        assert synced(system, left).leftover == 54
        approved = found(system, "prune", "approve", str(observed))
        assert (approved["run_id"], approved["state"]) == (observed, "done")
        assert in_step(system).leftover == 0
        undone = found(system, "undo", str(observed))
        assert (undone["restored"], undone["lost"]) == (54, [])
        assert in_step(system).leftover == 54


@pytest.mark.timeout(300)
def test_waiting_messages_of_every_kind_are_carried_out(tmp_path: Path) -> None:
    left = load("waiting")
    runs = left.rows("SELECT run_id FROM runs WHERE kind IN ('prune', 'resync') ORDER BY kind")
    with taken_over(left, tmp_path, "") as (system, _):
        wait_until(lambda: messages_left(system.var) == 0, timeout_seconds=150)
        synced(system, left)
        states = {run["run_id"]: run["state"] for run in found(system, "history")}
        assert [states[run_id] for (run_id,) in runs] == ["done", "done"]
        if in_step(system).leftover:  # what was recorded only after the waiting prune had planned
            assert found(system, "prune", "run")["state"] == "done"
        assert in_step(system).leftover == 0


@pytest.mark.timeout(300)
def test_a_held_prune_can_be_undone_instead(tmp_path: Path) -> None:
    left = load("killed")
    ((observed,),) = left.rows("SELECT run_id FROM runs WHERE kind = 'prune'")
    with taken_over(left, tmp_path, "") as (system, _):
        assert found(system, "undo", str(observed))["restored"] == 0
        assert synced(system, left).leftover == 54
        assert system.run("prune", "approve", str(observed)).returncode == 2
