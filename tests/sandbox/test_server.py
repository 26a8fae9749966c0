"""The sandbox serves both services over real HTTP, fails when told to, and tells what it saw."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from cprqueue.sandbox import credentials
from cprqueue.sandbox.server import Sandbox

QBT = {"Authorization": f"Bearer {credentials.QBT_ACCESS_TOKEN}"}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(jobs=300, tricky=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.faults.clear()
    running.call_log.clear()
    return running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(QBT)
        yield session


def log_in(url: str) -> dict[str, str]:
    text = rb"{username: 'sandbox', password: 'it\'s \\ sandbox'}"
    headers = {"Authorization": "Basic " + base64.b64encode(text).decode()}
    answer = requests.post(f"{url}/api/login", headers=headers, timeout=10)
    return {"Token": answer.json(), "ApiSecret": credentials.RM_API_SECRET}


def port_of(sandbox: Sandbox) -> int:
    return int(sandbox.url.rpartition(":")[2])


def create(session: requests.Session, sandbox: Sandbox, *names: str) -> requests.Response:
    data = {"data": [{"name": name} for name in names]}
    return session.post(f"{sandbox.qbt_url}/jobcodes", json=data, timeout=10)


def named(sandbox: Sandbox, name: str) -> list[dict[str, Any]]:
    return [code for code in sandbox.qbt.state()["jobcodes"] if code["name"] == name]


@pytest.mark.parametrize("prefix", ["", "/rm"])
def test_restorationmanager_is_served_at_the_root_and_below_rm(
    sandbox: Sandbox, prefix: str
) -> None:
    headers = log_in(sandbox.url + prefix)
    answer = requests.get(sandbox.url + prefix + "/api/Jobs", headers=headers, timeout=10)
    assert len(answer.json()) == 300


def test_quickbooks_time_is_served_on_the_same_port(
    sandbox: Sandbox, session: requests.Session
) -> None:
    assert create(session, sandbox, "Served").status_code == 200
    found = session.get(f"{sandbox.qbt_url}/jobcodes", params={"name": "Served"}, timeout=10)
    assert [c["name"] for c in found.json()["results"]["jobcodes"].values()] == ["Served"]


def test_a_list_of_any_size_is_streamed_whole() -> None:
    with Sandbox(jobs=20_000, padding_bytes=1000) as sandbox:
        headers = log_in(sandbox.url)
        answer = requests.get(f"{sandbox.url}/api/Jobs", headers=headers, timeout=60)
    assert len(answer.content) > 20_000_000
    assert len(answer.json()) == 20_000


def test_calls_are_recorded_without_what_is_secret(
    sandbox: Sandbox, session: requests.Session
) -> None:
    create(session, sandbox, "R1", "R2")
    session.get(f"{sandbox.qbt_url}/jobcodes?active=both&page=2", timeout=10)
    write, read = sandbox.calls
    assert (write.service, write.method, write.path, write.items) == ("qbt", "POST", "/jobcodes", 2)
    assert (read.query, read.status, read.fault) == ({"active": "both", "page": "2"}, 200, None)
    assert credentials.QBT_ACCESS_TOKEN not in repr(sandbox.calls)


def test_a_dropped_call_was_never_made_and_a_lost_one_was(
    sandbox: Sandbox, session: requests.Session
) -> None:
    sandbox.faults.set([{"kind": "drop", "nth": [1]}, {"kind": "lost", "nth": [2]}])
    for name in ("Dropped", "Lost"):
        with pytest.raises(requests.ConnectionError):
            create(session, sandbox, name)
    assert not named(sandbox, "Dropped")
    assert len(named(sandbox, "Lost")) == 1
    assert [(call.fault, call.status) for call in sandbox.calls] == [("drop", None), ("lost", None)]


def test_an_answer_hidden_behind_a_status_was_given_all_the_same(
    sandbox: Sandbox, session: requests.Session
) -> None:
    sandbox.faults.set([{"kind": "act_then_status", "times": 1}])
    assert create(session, sandbox, "Hidden").status_code == 503
    assert len(named(sandbox, "Hidden")) == 1
    again = create(session, sandbox, "Hidden").json()["results"]["jobcodes"]["1"]
    assert again["_status_code"] == 202


@pytest.mark.parametrize("path", ["/api/Jobs", "/api/Lists"])
def test_a_cut_answer_is_seen_as_cut(sandbox: Sandbox, path: str) -> None:
    headers = log_in(sandbox.url)
    sandbox.faults.set([{"kind": "cut", "path": path}])
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        requests.get(sandbox.url + path, headers=headers, timeout=10)


def test_the_connection_is_good_again_after_a_fault(
    sandbox: Sandbox, session: requests.Session
) -> None:
    kinds = ("status", "rate_limited", "garbled", "html")
    sandbox.faults.set([{"kind": kind, "nth": [n]} for n, kind in enumerate(kinds, 1)])
    answers = [session.get(f"{sandbox.qbt_url}/jobcodes", timeout=10) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [503, 429, 200, 200, 200]
    for answer in answers[2:4]:
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()
    assert "results" in answers[4].json()


def test_single_items_fail_and_the_others_are_done(
    sandbox: Sandbox, session: requests.Session
) -> None:
    sandbox.faults.set([{"kind": "items", "positions": [2], "code": 417, "extra": "Oops!"}])
    results = create(session, sandbox, "I1", "I2", "I3").json()["results"]["jobcodes"]
    assert [results[n]["_status_code"] for n in ("1", "2", "3")] == [200, 417, 200]
    assert [results[n]["name"] for n in ("1", "3")] == ["I1", "I3"]
    assert not named(sandbox, "I2")


@pytest.mark.parametrize("kind", ["slow", "drip"])
def test_a_slow_answer_keeps_nobody_else_waiting(
    sandbox: Sandbox, session: requests.Session, kind: str
) -> None:
    sandbox.faults.set([{"kind": kind, "seconds": 0.6, "path": "/jobcodes"}])
    with socket.create_connection(("127.0.0.1", port_of(sandbox))) as slow:
        head = f"GET /api/v1/jobcodes HTTP/1.1\r\nHost: x\r\nAuthorization: {QBT['Authorization']}"
        began = time.monotonic()
        slow.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n")
        session.get(f"{sandbox.qbt_url}/current_user", timeout=10)
        quick_seconds = time.monotonic() - began
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert quick_seconds < 0.4
    assert time.monotonic() - began >= 0.5
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_leaves_early_harms_nothing(
    sandbox: Sandbox, session: requests.Session
) -> None:
    sandbox.faults.set([{"kind": "slow", "seconds": 0.2, "path": "/jobcodes"}])
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{sandbox.qbt_url}/jobcodes", timeout=0.05)
    time.sleep(0.3)
    assert session.get(f"{sandbox.qbt_url}/current_user", timeout=10).status_code == 200


def test_a_question_for_headers_alone_gets_no_body(
    sandbox: Sandbox, session: requests.Session
) -> None:
    for path in ("/api/Jobs", "/api/v1/jobcodes"):
        answer = session.head(sandbox.url + path, timeout=10)
        assert answer.status_code >= 400
        assert answer.content == b""


def test_a_mistake_in_a_service_hangs_up_and_is_logged(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: object) -> None:
        raise ZeroDivisionError("a mistake")

    with Sandbox() as sandbox:
        monkeypatch.setattr(sandbox.qbt, "handle", broken)
        with pytest.raises(requests.ConnectionError):
            session.get(f"{sandbox.qbt_url}/jobcodes", timeout=10)
    assert "ZeroDivisionError" in caplog.text


# -- the control API ---------------------------------------------------------------------


def test_the_client_reads_and_forgets_calls(sandbox: Sandbox, session: requests.Session) -> None:
    session.get(f"{sandbox.qbt_url}/jobcodes", timeout=10)
    session.get(f"{sandbox.qbt_url}/locations", timeout=10)
    log_in(sandbox.url)
    client = sandbox.client
    assert client.call_count() == 3
    assert client.call_count(service="qbt", method="GET") == 2
    assert client.call_count(path="/jobcodes") == 1
    assert client.calls(service="rm")[0]["path"] == "/api/login"
    client.reset_calls()
    assert client.calls() == []


def test_the_client_sets_and_clears_faults(sandbox: Sandbox) -> None:
    sandbox.client.set_faults([{"kind": "drop", "service": "rm", "nth": [2]}])
    (rule,) = sandbox.client.faults()
    assert (rule["kind"], rule["service"], rule["nth"]) == ("drop", "rm", [2])
    assert (rule["seen"], rule["used"]) == (0, 0)
    sandbox.client.clear_faults()
    assert sandbox.client.faults() == []


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda client: client.set_faults([{"kind": "explode"}]), "kind of a fault"),
        (lambda client: client.set_switches(rm={"nosuch": 1}), "nosuch"),
        (lambda client: client.set_switches(qbt={"nosuch": 1}), "nosuch"),
        (lambda client: client.put_jobs([{"jobName": "x"}]), "a job needs a jobId"),
        (lambda client: client.change_jobcode(999_999_999, name="x"), "not found"),
    ],
)
def test_the_client_says_what_the_sandbox_does_not_accept(
    sandbox: Sandbox, call: Any, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        call(sandbox.client)


def test_the_client_changes_jobs_and_switches() -> None:
    with Sandbox() as sandbox:
        client = sandbox.client
        client.put_jobs([{"jobId": 1, "jobJobId": "A"}, {"jobId": 2, "jobJobId": "B"}])
        client.delete_jobs([1])
        client.set_switches(rm={"wrapping": "value"})
        headers = log_in(sandbox.url)
        answer = requests.get(f"{sandbox.url}/api/Jobs", headers=headers, timeout=10).json()
        assert [job["jobJobId"] for job in answer["value"]] == ["B"]
        assert [job["jobId"] for job in client.jobs()] == [2]
        assert client.switches()["rm"]["wrapping"] == "value"


def test_the_client_ends_logins_by_time_or_at_once() -> None:
    with Sandbox() as sandbox:
        waits: list[Callable[[], None]] = [
            lambda: sandbox.client.advance(1300),
            sandbox.client.expire_rm_tokens,
        ]
        for wait in waits:
            headers = log_in(sandbox.url)
            wait()
            answer = requests.get(f"{sandbox.url}/api/Jobs", headers=headers, timeout=10)
            assert answer.status_code == 401


def test_the_client_edits_quickbooks_time_by_hand() -> None:
    with Sandbox() as sandbox:
        client = sandbox.client
        jobcode = client.add_jobcode(name="By hand")
        client.change_jobcode(jobcode, name="Renamed")
        location = client.add_location(addr1="1 Main St", city="Mesa")
        client.change_location(location, addr1="2 Main St")
        sheet = client.clock_in(jobcode)
        state = client.qbt_state()
        assert [c["name"] for c in state["jobcodes"] if c["id"] == jobcode] == ["Renamed"]
        assert [p["addr1"] for p in state["locations"] if p["id"] == location] == ["2 Main St"]
        assert [t["on_the_clock"] for t in state["timesheets"] if t["id"] == sheet] == [True]
        client.clock_out(sheet)
        state = client.qbt_state()
        assert [t["on_the_clock"] for t in state["timesheets"] if t["id"] == sheet] == [False]


@pytest.mark.parametrize("end", ["expire_token", "revoke_token"])
def test_the_client_takes_the_access_token_away(session: requests.Session, end: str) -> None:
    with Sandbox() as sandbox:
        url = f"{sandbox.qbt_url}/current_user"
        assert session.get(url, timeout=10).status_code == 200
        getattr(sandbox.client, end)()
        assert session.get(url, timeout=10).status_code == 401


def test_an_unknown_control_path_is_not_there(sandbox: Sandbox) -> None:
    assert requests.get(f"{sandbox.url}/_sandbox/nosuch", timeout=10).status_code == 404


# -- beginning and end -------------------------------------------------------------------


def test_two_sandboxes_stand_side_by_side() -> None:
    with Sandbox(jobs=3) as one, Sandbox(jobs=5) as other:
        assert (len(one.client.jobs()), len(other.client.jobs())) == (3, 5)


def test_a_port_that_is_taken_is_refused_at_once(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=port_of(sandbox)).start()


def test_closing_ends_open_connections_and_slow_answers(session: requests.Session) -> None:
    with Sandbox() as sandbox:
        sandbox.faults.set([{"kind": "slow", "seconds": 60, "path": "/jobcodes"}])
        session.get(f"{sandbox.qbt_url}/current_user", timeout=10)
        with pytest.raises(requests.ReadTimeout):
            session.get(f"{sandbox.qbt_url}/jobcodes", timeout=0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    sandbox.close()


def test_the_environment_points_at_both_services(sandbox: Sandbox) -> None:
    environment = credentials.environment(sandbox.url + "/")
    assert environment["RM_BASE_URL"] == sandbox.url
    assert environment["QBT_BASE_URL"] == sandbox.qbt_url
    assert environment["RM_PASSWORD"] == "it's \\ sandbox"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_cleanly_when_told_to(number: signal.Signals) -> None:
    code = (
        "from cprqueue.sandbox.server import serve\n"
        "serve(port=0, jobs=2, ready=lambda sandbox: print(sandbox.url, flush=True))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert requests.get(child.stdout.readline().strip(), timeout=10).status_code == 404
        child.send_signal(number)
        _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (0, "")
