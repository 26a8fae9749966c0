"""The RestorationManager client against the sandbox: login, download, one job, every odd answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cprqueue import errors
from cprqueue.clients.job_list import read_job_list
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.clients.transport import Transport
from cprqueue.sandbox import credentials
from cprqueue.sandbox.server import Sandbox

JOBS = [{"jobId": n, "jobJobId": f"A-{n}", "jobStatus": "Active"} for n in (1, 2, 3)]


pytestmark = pytest.mark.rm_jobs(*JOBS)


def client(sandbox: Sandbox, **changes: str) -> RestorationManager:
    given = {
        "username": credentials.RM_USERNAME,
        "password": credentials.RM_PASSWORD,
        "secret": credentials.RM_API_SECRET,
        **changes,
    }
    return RestorationManager(Transport("RestorationManager", sandbox.rm_url), **given)


@pytest.fixture
def rm(sandbox: Sandbox) -> Iterator[RestorationManager]:
    made = client(sandbox)
    yield made
    made.transport.close()


def ids(path: Path) -> list[int]:
    return [job["jobId"] for job in read_job_list(path)]


def download(rm: RestorationManager, path: Path, since: datetime = BEGINNING) -> list[int]:
    return rm.download(path, since=since, check=ids)


def test_a_password_with_a_quote_and_a_backslash_logs_in(rm: RestorationManager) -> None:
    assert {"'", "\\"} <= set(credentials.RM_PASSWORD)
    rm.login()


@pytest.mark.parametrize(
    "wrong", [{"username": "nobody"}, {"password": "secret-1"}, {"secret": "secret-2"}]
)
def test_wrong_credentials_stop_without_being_told(
    sandbox: Sandbox, tmp_path: Path, wrong: dict[str, str]
) -> None:
    rm = client(sandbox, **wrong)
    with pytest.raises(errors.AccessStopped, match="401") as raised:
        download(rm, tmp_path / "jobs.json")
    assert not any(word in str(raised.value) for word in ("secret", "nobody"))
    rm.transport.close()


def test_the_whole_list_is_downloaded_with_one_login(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path
) -> None:
    path = tmp_path / "below" / "jobs.json"
    assert download(rm, path) == [1, 2, 3]
    assert download(rm, path) == [1, 2, 3]
    assert [call.path for call in sandbox.calls] == ["/api/login", "/api/Jobs", "/api/Jobs"]
    assert sandbox.calls[1].query["ModifiedSince"] == "2014-12-22T00:00:00Z"
    assert [each.name for each in path.parent.iterdir()] == ["jobs.json"]


def test_only_what_changed_since_is_asked_for(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path
) -> None:
    assert download(rm, tmp_path / "x", datetime(2099, 1, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("ahead", "asked"),
    [(-2.0, "2026-03-08T12:00:00Z"), (2.0, "2026-03-10T12:00:00Z"), (0.0, "2026-03-10T12:00:00Z")],
)
def test_a_machine_that_is_days_ahead_of_it_asks_as_much_further_back(
    sandbox: Sandbox,
    rm: RestorationManager,
    tmp_path: Path,
    ahead: float,
    asked: str,
) -> None:
    rm.login()
    rm.transport.ahead = timedelta(days=ahead)
    download(rm, tmp_path / "x", datetime(2026, 3, 10, 12, tzinfo=UTC))
    assert sandbox.calls[-1].query["ModifiedSince"] == asked
    rm.transport.ahead = timedelta(days=-10_000)
    download(rm, tmp_path / "x", datetime(2026, 3, 10, 12, tzinfo=UTC))
    assert sandbox.calls[-1].query["ModifiedSince"] == "2014-12-22T00:00:00Z"


@pytest.mark.parametrize("single", [False, True])
def test_an_expired_token_logs_in_again_once(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path, single: bool
) -> None:
    rm.login()
    sandbox.rm.expire_tokens()
    sandbox.client.reset_calls()
    if single:
        assert rm.get_job(2)["jobId"] == 2
    else:
        assert download(rm, tmp_path / "x") == [1, 2, 3]
    assert [call.status for call in sandbox.calls] == [401, 200, 200]


@pytest.mark.parametrize("denied", ["403", "html200"])
def test_however_an_expired_token_is_refused_a_new_login_helps(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path, denied: str
) -> None:
    sandbox.rm.switches.update({"denied": denied})
    for _ in range(2):
        assert download(rm, tmp_path / "jobs.json") == [1, 2, 3]
        sandbox.rm.expire_tokens()
        assert rm.get_job(2) is not None
        sandbox.rm.expire_tokens()
    assert sum(call.path == "/api/login" for call in sandbox.calls) == 4


def test_a_token_refused_twice_is_an_error(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path
) -> None:
    sandbox.faults.set([{"kind": "status", "status": 401, "path": "/api/Jobs"}])
    for work in (lambda: download(rm, tmp_path / "x"), lambda: rm.get_job(1)):
        with pytest.raises(errors.AccessStopped):
            work()
    assert sandbox.client.call_count(path="/api/Jobs") == 4


@pytest.mark.parametrize("wrapping", ["none", "results", "jobs", "value"])
@pytest.mark.parametrize("mark", [False, True])
def test_the_list_is_found_in_each_wrapping(
    sandbox: Sandbox, rm: RestorationManager, tmp_path: Path, wrapping: str, mark: bool
) -> None:
    sandbox.rm.switches.update({"wrapping": wrapping, "byte_order_mark": mark})
    assert download(rm, tmp_path / "x") == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 403}, errors.AccessStopped),
        ({"kind": "status", "status": 404}, errors.Refused),
        ({"kind": "rate_limited"}, errors.RateLimited),
        ({"kind": "status", "status": 500, "html": True}, errors.ServiceFailed),
        ({"kind": "drop"}, errors.ServiceUnreachable),
        ({"kind": "lost"}, errors.ServiceUnreachable),
        ({"kind": "cut", "act": True}, errors.ServiceUnreachable),
        ({"kind": "garbled"}, errors.UnreadableAnswer),
        ({"kind": "html"}, errors.UnreadableAnswer),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else "",
)
def test_a_failed_download_leaves_the_old_file_alone(
    sandbox: Sandbox,
    rm: RestorationManager,
    tmp_path: Path,
    fault: dict[str, Any],
    kind: type[Exception],
) -> None:
    path = tmp_path / "jobs.json"
    path.write_text("old")
    sandbox.faults.set([{"path": "/api/Jobs", **fault}])
    with pytest.raises(kind, match=r"^RestorationManager[^\n?]*$"):
        download(rm, path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ('[{"jobId": 1}, {"jobId"', "cut short"),
        ('[{"jobId": 1}', "cut short"),
        ('{"jobs": [{"jobId": 1}]', "cut short"),
        ("{", "cut short"),
        ("<html></html>", "is not JSON"),
        ('[{"jobId": 1}] and more', "is not JSON"),
        ("[1, oops]", "is not JSON"),
        ("{}", "not a list of jobs"),
        ('{"Message": "no"}', "not a list of jobs"),
        ('{"jobs": {"jobId": 1}}', "not a list of jobs"),
        ('"text"', "not a list of jobs"),
        ("null", "not a list of jobs"),
        ("42", "not a list of jobs"),
    ],
)
def test_a_file_that_is_no_job_list_is_named_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(errors.UnreadableAnswer, match=rf"^RestorationManager[^\n]*{said}") as error:
        list(read_job_list(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ['{"count": 1, "Value": [7]}', '{"meta": {"a": [1]}, "results": [7]}', "[7]\n"]
)
def test_a_list_is_found_beside_other_things(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert list(read_job_list(path)) == [7]


@pytest.mark.parametrize("how", ["404", "405"])
def test_where_no_single_jobs_are_offered_none_comes_back(
    sandbox: Sandbox, rm: RestorationManager, how: str
) -> None:
    assert rm.get_job(2)["jobJobId"] == "A-2"
    assert rm.get_job(99) is None
    sandbox.rm.switches.update({"single_job": how})
    assert rm.get_job(2) is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([{"JOBID": 5}], True),
        ({"jobid": 5}, True),
        ([], False),
        ([{"jobId": 1}, {"jobId": 2}], False),
        ({"Message": "no"}, False),
        ("text", False),
        (None, False),
    ],
)
def test_only_what_looks_like_one_job_is_taken_for_one(
    sandbox: Sandbox, rm: RestorationManager, body: Any, found: bool
) -> None:
    rule = {"kind": "garbled", "path": "/api/Jobs", "body": json.dumps(body), "act": False}
    sandbox.faults.set([rule])
    assert (rm.get_job(5) is not None) == found


@pytest.mark.parametrize(
    ("body", "ok"),
    [
        ('"abc"', True),
        ("abc", True),
        (' "abc" ', True),
        ("", False),
        ('""', False),
        ("{}", False),
        ("null", False),
        ("<html>", False),
        ("not a token", False),
        ('"two words"', False),
        ('"line\\nbreak"', False),
    ],
)
def test_only_what_looks_like_a_token_is_one(
    sandbox: Sandbox, rm: RestorationManager, body: str, ok: bool
) -> None:
    sandbox.faults.set([{"kind": "garbled", "path": "/api/login", "body": body, "act": False}])
    if ok:
        rm.login()
        return
    with pytest.raises(errors.UnreadableAnswer, match=r"without a token: check RM_BASE_URL$"):
        rm.login()
