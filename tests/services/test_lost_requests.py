"""A resync or a snapshot whose message was lost is sent again; one that was not sent has ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.cli import main
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import lost_requests
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.office import Office, job

QUIET = timedelta(minutes=1)


def lost(office: Office, *, waiting: int = 0) -> list[tuple[str, dict[str, Any]]]:
    return lost_requests.find(office.app.db, lambda _queue: waiting, quiet=QUIET)


def long_ago(office: Office, run_id: int) -> None:
    with office.app.db.begin() as conn:
        runs.change(conn, run_id, touched_at=clock(conn) - 2 * QUIET)


def snapshot(office: Office, requested_by: str) -> int:
    with office.app.db.begin() as conn:
        return runs.create(conn, RunKind.SNAPSHOT, requested_by=requested_by)


def state(office: Office, run_id: int) -> tuple[str, str]:
    with office.app.db.read() as conn:
        run = runs.existing(conn, run_id)
    return run.state, run.note or ""


def test_a_lost_resync_is_sent_again_whatever_the_job_is_called(office: Office) -> None:
    number = f"{'🏠' * 30} %s [/x]"
    office.put(job(1, number))
    run_id = office.app.resync.request(number)
    assert lost(office) == []
    long_ago(office, run_id)
    assert lost(office, waiting=1) == []
    task, kwargs = lost(office).pop()
    assert (task, kwargs) == ("cpr.resync_job", {"job": number, "run_id": run_id})
    assert lost(office) == [], "it was just sent"
    office.app.resync.run(**kwargs)
    assert state(office, run_id)[0] == RunState.DONE


def test_a_lost_snapshot_is_sent_again_if_a_person_asked_for_it(office: Office) -> None:
    ours, of_a_prune = snapshot(office, lost_requests.OPERATOR), snapshot(office, "prune 1")
    for run_id in (ours, of_a_prune):
        long_ago(office, run_id)
    assert lost(office) == [("cpr.snapshot_export", {"run_id": ours})]


@pytest.mark.parametrize("words", [("resync", "A-1"), ("snapshot",)])
def test_what_the_broker_did_not_take_is_over_and_history_says_why(
    office: Office, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for name, value in office.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["cprqueue", *words, "--no-wait"])
    monkeypatch.setattr("cprqueue.bootstrap._application", office.app)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    with office.app.db.read() as conn:
        [run] = runs.newest_few(conn, RunKind(words[0]), limit=1)
    found, note = state(office, run.run_id)
    assert (found, note.startswith("not sent: ")) == (RunState.FAILED, True)
