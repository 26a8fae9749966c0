"""Each run is a line in the log when it begins and one when it ends, with what it cost."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cprqueue import log
from tests.office import Office, job
from tests.pruning import close, prune, remove_all, run_of


def told(caplog: pytest.LogCaptureFixture, event: str, kind: str) -> list[dict[str, Any]]:
    """Return the fields of the lines with this event, of runs of this kind."""
    found = [log.fields(r) for r in caplog.records if r.name == log.RUNS and r.message == event]
    return [entry for entry in found if entry["kind"] == kind]


@pytest.fixture
def office(office: Office, caplog: pytest.LogCaptureFixture) -> Office:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger=log.RUNS)
    office.put(*(job(n, f"A-{n}") for n in range(1, 5)))
    office.push()
    return office


def calls(office: Office) -> int:
    return len(office.sandbox.call_log.select("qbt"))


def test_runs_that_call_quickbooks_time_count_their_calls(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    close(office, 1)
    caplog.clear()
    before = calls(office)
    run_id, _ = prune(office)
    office.app.undo.run(office.app.undo.request(run_id))
    kinds = ("snapshot", "prune", "undo")
    ended = [told(caplog, "run ended", kind) for kind in kinds]
    assert [len(told(caplog, "run began", kind)) for kind in kinds] == [1, 1, 1]
    assert [len(entries) for entries in ended] == [1, 1, 1]
    assert all(entry["calls"] > 0 and entry["seconds"] >= 0 for [entry] in ended)
    assert sum(entry["calls"] for [entry] in ended) == calls(office) - before
    assert run_of(office, run_id).calls == ended[1][0]["calls"]
    assert ended[1][0]["outcome"] == "1 archived"


def test_a_remove_all_and_a_resync_are_told_too(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.app.resync.run("A-2", None)
    run_id = remove_all(office)
    before = calls(office)
    office.app.remove_all.run(run_id)
    [removed] = told(caplog, "run ended", "remove_all")
    assert (removed["run_id"], removed["calls"]) == (run_id, calls(office) - before)
    [resynced] = told(caplog, "run ended", "resync")
    assert resynced["calls"] > 0
    assert len(told(caplog, "run began", "remove_all") + told(caplog, "run began", "resync")) == 2


def test_a_run_that_fails_is_an_error_with_its_reason(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.app.resync.run("no such job", None)
    [failed] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert log.fields(failed)["state"] == "failed"
    assert "no job" in str(log.fields(failed)["outcome"])


def test_a_pushed_batch_is_a_line(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(5, 9)))
    office.push()
    [batch] = [log.fields(r) for r in caplog.records if r.message == "batch pushed"]
    assert (batch["jobs"], batch["in_step"], batch["parked"]) == (4, 4, 0)
