"""The local RestorationManager does what is known of the real one, and either side of a guess."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cprqueue.sandbox import credentials
from cprqueue.sandbox.restoration_manager import RestorationManager, Streamed
from cprqueue.sandbox.wire import Answer, Request

GOOD_LOGIN = r"{username: 'sandbox', password: 'it\'s \\ sandbox'}"
JOBS = [
    {"jobId": 1, "jobJobId": "PHX-24-00001R", "jobZip": "02108", "siteId": 8},
    {"jobId": 2, "jobJobId": "PHX-24-00002M", "jobZip": "85004-1234", "siteId": 33},
]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0  # 2025-06-15T15:06:40Z

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rm(clock: Clock) -> RestorationManager:
    return RestorationManager(jobs=JOBS, clock=clock)


def log_in(rm: RestorationManager, text: str = GOOD_LOGIN, path: str = "/api/login") -> Answer:
    basic = "Basic " + base64.b64encode(text.encode()).decode()
    return rm.handle(Request(method="POST", path=path, headers={"authorization": basic}))


def get(rm: RestorationManager, path: str, **query: str) -> Answer:
    headers = {"token": json.loads(log_in(rm).body), "apisecret": credentials.RM_API_SECRET}
    return rm.handle(Request(method="GET", path=path, query=query, headers=headers))


def body(answer: Answer) -> Any:
    raw = b"".join(answer.chunks) if isinstance(answer, Streamed) else answer.body
    return json.loads(raw.decode("utf-8-sig"))


def listed(rm: RestorationManager, **query: str) -> list[int]:
    return [job["jobId"] for job in body(get(rm, "/api/Jobs", **query))]


def test_a_login_answers_a_token_as_a_quoted_text(rm: RestorationManager) -> None:
    answer = log_in(rm)
    assert answer.status == 200
    assert answer.body[:1] == b'"'
    assert len(json.loads(answer.body)) > 20


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (GOOD_LOGIN, 200),
        (r"{password: 'it\'s \\ sandbox', username: 'sandbox'}", 200),
        (r"{ username : 'sandbox' , password : 'it\u0027s \x5c sandbox' }", 200),
        ("{username: 'sandbox', password: 'it's \\ sandbox'}", 401),  # pasted in raw
        (r"{username: 'sandbox', password: 'wrong'}", 401),
        ("sandbox:it's \\ sandbox", 401),
        (r'{"username": "sandbox", "password": "it\'s \\ sandbox"}', 401),
    ],
)
def test_a_login_is_an_object_literal_with_escapes(
    rm: RestorationManager, text: str, status: int
) -> None:
    assert log_in(rm, text).status == status


@pytest.mark.parametrize(
    ("header", "status"),
    [("Basic %%%", 400), ("Basic " + base64.b64encode(b"\xff\xfe").decode(), 400), ("", 401)],
)
def test_a_login_that_is_no_base64_is_a_bad_request(
    rm: RestorationManager, header: str, status: int
) -> None:
    request = Request(method="POST", path="/api/login", headers={"authorization": header})
    assert rm.handle(request).status == status


@pytest.mark.parametrize("missing", ["token", "apisecret"])
def test_data_needs_both_the_token_and_the_secret(rm: RestorationManager, missing: str) -> None:
    headers = {"token": json.loads(log_in(rm).body), "apisecret": credentials.RM_API_SECRET}
    headers[missing] = "wrong"
    answer = rm.handle(Request(method="GET", path="/api/Jobs", headers=headers))
    assert answer.status == 401
    assert json.loads(answer.body) == {"Message": "Authorization has been denied for this request."}


def test_a_token_ends_after_its_life(rm: RestorationManager, clock: Clock) -> None:
    headers = {"token": json.loads(log_in(rm).body), "apisecret": credentials.RM_API_SECRET}
    request = Request(method="GET", path="/api/Jobs", headers=headers)
    clock.now += 1199
    assert rm.handle(request).status == 200
    rm.advance(1)
    assert rm.handle(request).status == 401


@pytest.mark.parametrize(
    ("how", "status", "start"),
    [("401", 401, b"{"), ("403", 403, b"{"), ("html200", 200, b"<!DOCTYPE html>")],
)
def test_a_denial_takes_any_of_its_forms(
    rm: RestorationManager, how: str, status: int, start: bytes
) -> None:
    rm.switches.update({"denied": how, "login_denied": how})
    for answer in (rm.handle(Request(method="GET", path="/api/Jobs")), log_in(rm, "no")):
        assert answer.status == status
        assert answer.body.startswith(start)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/API/LOGIN", 200),
        ("GET", "/api/login", 405),
        ("POST", "/api/Jobs", 405),
        ("GET", "/api/Customers", 404),
        ("GET", "/api/Jobs/1/notes", 404),
        ("GET", "/", 404),
    ],
)
def test_only_known_paths_and_methods_are_served(
    rm: RestorationManager, method: str, path: str, status: int
) -> None:
    encoded = base64.b64encode(GOOD_LOGIN.encode()).decode()
    headers = {"authorization": "Basic " + encoded}
    assert rm.handle(Request(method=method, path=path, headers=headers)).status == status


def test_paths_can_mind_case(rm: RestorationManager) -> None:
    rm.switches.update({"paths_ignore_case": False})
    assert get(rm, "/api/jobs").status == 404
    assert get(rm, "/api/Jobs").status == 200


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2014-12-22T00:00:00Z", [1, 2]),
        ("2025-06-15T15:06:40Z", [1, 2]),  # the very second: inclusive
        ("2025-06-15T15:06:41Z", [2]),
        ("2025-06-15T10:06:41-05:00", [2]),
        ("2025-06-15T15:07:40", [2]),  # no zone is UTC
        ("2025-06-16", []),
    ],
)
def test_modified_since_leaves_out_what_did_not_change(
    rm: RestorationManager, clock: Clock, since: str, expected: list[int]
) -> None:
    clock.now += 60
    rm.put_jobs([{"jobId": 2, "jobName": "Changed"}])
    assert listed(rm, includeRelatedData="false", ModifiedSince=since) == expected
    assert listed(rm, INCLUDERELATEDDATA="False", modifiedsince=since) == expected


def test_modified_since_can_be_exclusive_or_ignored(rm: RestorationManager) -> None:
    rm.switches.update({"since_inclusive": False})
    assert listed(rm, ModifiedSince="2025-06-15T15:06:40Z") == []
    rm.switches.update({"since_honoured": False})
    assert listed(rm, ModifiedSince="2030-01-01T00:00:00Z") == [1, 2]


@pytest.mark.parametrize(
    "query",
    [
        {"ModifiedSince": "yesterday"},
        {"ModifiedSince": ""},
        {"ModifiedSince": "2025-06-15T10:06:41 05:00"},  # a plus sign that was not encoded
        {"includeRelatedData": "maybe"},
    ],
)
def test_a_query_that_cannot_be_read_is_a_bad_request(
    rm: RestorationManager, query: dict[str, str]
) -> None:
    assert get(rm, "/api/Jobs", **query).status == 400


@pytest.mark.parametrize("wrapping", ["results", "jobs", "value"])
def test_the_list_can_be_wrapped(rm: RestorationManager, wrapping: str) -> None:
    rm.switches.update({"wrapping": wrapping})
    wrapped = body(get(rm, "/api/Jobs"))
    assert list(wrapped) == [wrapping]
    assert len(wrapped[wrapping]) == 2


def test_no_jobs_is_an_empty_list() -> None:
    assert body(get(RestorationManager(), "/api/Jobs")) == []


@pytest.mark.parametrize(
    ("switches", "name", "value"),
    [
        ({}, "jobModifiedDate", "2025-06-15T15:06:40.000Z"),
        ({"modified_format": "naive"}, "jobModifiedDate", "2025-06-15T15:06:40.000"),
        ({"modified_format": "seconds"}, "jobModifiedDate", "2025-06-15T15:06:40Z"),
        ({"modified_format": "offset"}, "jobModifiedDate", "2025-06-15T15:06:40.000+00:00"),
        ({"modified_field": "lastModified"}, "lastModified", "2025-06-15T15:06:40.000Z"),
        ({"casing": "lower"}, "jobjobid", "PHX-24-00001R"),
        ({"casing": "upper"}, "JOBJOBID", "PHX-24-00001R"),
        ({"casing": "pascal"}, "JobJobId", "PHX-24-00001R"),
        ({"casing": "camel"}, "jobFullAddress", None),
        ({"numbers_as_strings": True}, "siteId", "8"),
        ({"zip_as_int": True}, "jobZip", 2108),
        ({"trailing_spaces": True}, "jobJobId", "PHX-24-00001R  "),
        ({"byte_order_mark": True}, "jobId", 1),
    ],
)
def test_a_switch_changes_how_a_job_looks(
    rm: RestorationManager, switches: dict[str, Any], name: str, value: Any
) -> None:
    rm.switches.update(switches)
    assert body(get(rm, "/api/Jobs"))[0][name] == value


def test_the_modified_field_can_be_left_out(rm: RestorationManager) -> None:
    rm.switches.update({"modified_field": ""})
    assert "jobModifiedDate" not in body(get(rm, "/api/Jobs"))[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"wraping": "jobs"}, "there is no switch 'wraping'"),
        ({"denied": "500"}, "takes one of 401, 403, html200"),
        ({"trailing_spaces": "yes"}, "takes true or false"),
        ({"zip_as_int": True, "drip_seconds": "1"}, "takes a number"),
    ],
)
def test_a_switch_that_is_unknown_or_does_not_fit_is_refused_in_one_line(
    rm: RestorationManager, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        rm.switches.update(changes)
    assert "\n" not in str(caught.value)
    assert not rm.switches.zip_as_int


@pytest.mark.parametrize(
    ("single_job", "path", "status"),
    [
        ("ok", "/api/Jobs/2", 200),
        ("ok", "/api/jobs/2/", 200),
        ("ok", "/api/Jobs/99", 404),
        ("ok", "/api/Jobs/PHX-24-00002M", 400),
        ("404", "/api/Jobs/2", 404),
        ("405", "/api/Jobs/2", 405),
    ],
)
def test_a_single_job_is_there_or_not(
    rm: RestorationManager, single_job: str, path: str, status: int
) -> None:
    rm.switches.update({"single_job": single_job})
    answer = get(rm, path)
    assert answer.status == status
    assert get(rm, "/api/Jobs").status == 200
    if status == 200:
        assert body(answer)["jobJobId"] == "PHX-24-00002M"


def test_lists_hold_the_values_in_use(rm: RestorationManager) -> None:
    assert body(get(rm, "/api/Lists", ModifiedSince="2014-12-22T00:00:00Z"))["sites"] == [33, 8]


def test_a_token_shows_whose_it_is(rm: RestorationManager) -> None:
    shown = body(get(rm, "/api/Login/decryptedtoken"))
    assert shown == {"username": "sandbox", "expires": "2025-06-15T15:26:40.000Z"}


def test_a_put_creates_a_job_or_changes_the_given_fields(rm: RestorationManager) -> None:
    rm.put_jobs([{"jobId": 1, "jobStatus": "Closed"}, {"jobId": 3, "jobJobId": "New"}])
    jobs = {job["jobId"]: job for job in rm.jobs()}
    assert jobs[1]["jobStatus"] == "Closed"
    assert jobs[1]["jobJobId"] == "PHX-24-00001R"
    assert jobs[3]["jobAddress1"] is None


def test_a_job_put_back_as_it_was_read_counts_as_modified(
    rm: RestorationManager, clock: Clock
) -> None:
    clock.now += 3600
    rm.put_jobs([rm.jobs()[0] | {"jobName": "Ortiz"}])
    assert listed(rm, ModifiedSince="2025-06-15T16:00:00Z") == [1]


@pytest.mark.parametrize("job", [{}, {"jobId": "7"}, {"jobId": None}, {"jobId": True}])
def test_a_job_without_a_number_for_its_id_is_refused(
    rm: RestorationManager, job: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="a job needs a jobId"):
        rm.put_jobs([job])


def test_a_deleted_job_stops_appearing(rm: RestorationManager) -> None:
    rm.delete_jobs([1, 99])
    assert listed(rm) == [2]


def test_a_long_list_is_streamed_as_it_was_when_it_was_asked_for() -> None:
    rm = RestorationManager(jobs=({"jobId": n} for n in range(1, 1002)))
    answer = get(rm, "/api/Jobs")
    rm.delete_jobs(range(1, 1002))
    assert isinstance(answer, Streamed)
    assert [job["jobId"] for job in body(answer)] == list(range(1, 1002))


def test_a_slow_list_comes_in_pieces(rm: RestorationManager) -> None:
    rm.switches.update({"drip_seconds": 2})
    answer = get(rm, "/api/Jobs")
    assert isinstance(answer, Streamed)
    assert answer.seconds == 2.0
    assert len(list(answer.chunks)) == answer.pieces == 4
