"""A whole system that falls ill and recovers: its health, its alerts, its heartbeat."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.office import job
from tests.real_processes import marked, wait_until
from tests.receiver import Receiver, receiving
from tests.running import System

SECRET = "geheim-4711"
TIMETABLE = """
from cprqueue.celery import app
app.conf.beat_schedule = {
    "fetch": {"task": "cpr.fetch_jobs", "schedule": 2, "options": {"expires": 2}},
    "sweep": {"task": "cpr.sweep", "schedule": 2, "options": {"expires": 2}},
}
"""
LATE = {
    "CPR_TEST_LATE_SECONDS": "20",
    "CPR_TEST_SILENT_SECONDS": "5",
    "CPR_TEST_CANARY_SECONDS": "1000",  # or `up` would start the stopped worker again
}
PATIENT = {"timeout_seconds": 120.0}
BEGINNINGS = [
    "QuickBooks Time push stopped",
    "RestorationManager refuses our fetches",
    "beat is silent",
    "no worker takes messages of the queue insert",
]
ENDS = [
    "QuickBooks Time push goes on",
    "RestorationManager: fetches succeed again",
    "a worker takes messages of the queue insert again",
    "beat is back",
]


@pytest.fixture
def people() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def watched(tmp_path: Path, people: Receiver) -> Iterator[System]:
    (tmp_path / "celerybeat-schedule.py").write_text(TIMETABLE)
    with Sandbox(jobs=[job(1, "A-1"), job(2, "A-2")]) as sandbox:
        place = f"127.0.0.1:{people.port}"
        yield System(
            tmp_path,
            sandbox,
            ALERT_URLS=f"json://{place}/{SECRET}",
            ALERT_HEARTBEAT_URL=f"http://{place}/ping/{SECRET}",
            CPR_DIGEST=f"{datetime.now(UTC):%H:%M}",
            **LATE,
        )


def health(system: System) -> tuple[int, set[str]]:
    """Return the exit code of ``health`` and the names of what is not well."""
    done = system.run("health", "--json")
    found = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0), done.stderr
    bad = [check for check in found["checks"] if not check["ok"]]
    assert all("`cprqueue " in check["text"] for check in bad), "each says its cure"
    return done.returncode, {check["name"] for check in bad}


def send(system: System, name: str, number: signal.Signals) -> None:
    """Send a signal to the main process of a program of ``up``."""
    mark = b"\0beat\0" if name == "beat" else f"\0-Q\0{name}\0".encode()
    found = [p for p in marked(system.directory) if mark in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(min(found), number)


def test_what_fails_is_told_once_and_its_end_once_and_health_knows(
    watched: System, people: Receiver
) -> None:
    heartbeat = f"/ping/{SECRET}"
    assert health(watched)[0] == 3, "nothing runs yet"
    with watched.up("--no-flower") as up:
        wait_until(lambda: health(watched) == (0, set()), **PATIENT)
        assert people.called[heartbeat]

        watched.sandbox.qbt.switches.update({"force_status": 402})
        watched.sandbox.rm.put_jobs([job(1, "A-1b")])
        wait_until(lambda: BEGINNINGS[0] in people.titles, **PATIENT)
        watched.sandbox.client.set_faults([{"service": "rm", "kind": "status", "status": 403}])
        wait_until(lambda: BEGINNINGS[1] in people.titles, **PATIENT)
        for name in ("insert", "beat"):
            send(watched, name, signal.SIGSTOP)
        wait_until(lambda: not set(BEGINNINGS) - set(people.titles), **PATIENT)
        silent = people.called[heartbeat]
        assert health(watched) == (1, {"fetch", "beat", "push", "queue insert"})
        assert people.called[heartbeat] == silent, "a worker sends sweeps: they are no heartbeat"

        watched.sandbox.qbt.switches.update({"force_status": None})
        watched.sandbox.client.clear_faults()
        for name in ("insert", "beat"):
            send(watched, name, signal.SIGCONT)
        wait_until(lambda: set(ENDS) <= set(people.titles), **PATIENT)
        wait_until(lambda: health(watched) == (0, set()), **PATIENT)
        assert people.called[heartbeat] > silent
        assert not up.heard(SECRET)
        assert not up.heard("Traceback")
    assert sorted(people.titles) == sorted([*BEGINNINGS, *ENDS, "digest"])
    (stopped,) = (each for each in people.messages if each["title"].endswith("push stopped"))
    assert stopped["type"] == "failure"
    assert "level: error, host: " in stopped["message"]
    assert "`cprqueue check`" in stopped["message"]


def test_a_test_says_of_each_url_whether_it_went_and_digest_sends_its_lines(
    watched: System, people: Receiver
) -> None:
    place = f"127.0.0.1:{people.port}"
    bad = (
        f"json://127.0.0.1:1/{SECRET};ntfy://user:{SECRET}@127.0.0.1:1/topic;json://{place}/broken"
    )
    done = watched.run("alert", "--test", "--json", ALERT_URLS=f"json://{place}/{SECRET};{bad}")
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [each["ok"] for each in found["urls"]] == [True, False, False, False]
    assert found["urls"][0] == {"url": f"json://{place}/...", "ok": True, "text": ""}
    assert "onnection error" in found["urls"][1]["text"]
    assert "error=500" in found["urls"][3]["text"]
    assert people.titles == ["test", "test"]

    assert watched.run("alert", "--test").returncode == 0
    assert watched.run("alert", "--test", ALERT_URLS="").returncode == 2
    assert watched.run("alert").returncode == 2
    assert watched.run("migrate").returncode == 0
    sent = watched.run("digest", "--send")
    assert sent.returncode == 0
    assert "waits for a person: no fetch has succeeded yet" in sent.stdout
    assert people.messages[-1]["message"].startswith(sent.stdout.strip())
    gone = watched.run("digest", "--send", "--json", ALERT_URLS=f"json://{place}/broken")
    assert gone.returncode == 1
    assert json.loads(gone.stdout)["went"] == []
