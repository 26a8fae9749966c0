"""A fault rule chooses its calls, and does to them what it says."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from cprqueue.sandbox import delivery
from cprqueue.sandbox.faults import Fault, FaultScript
from cprqueue.sandbox.wire import Answer, Request

DROP: dict[str, Any] = {"kind": "drop"}


def fired(rule: dict[str, Any], calls: int, **call: str) -> list[int]:
    """Return the numbers of the calls, from 1, on which ``rule`` fires."""
    script = FaultScript()
    script.set([rule])
    given = {"service": "qbt", "method": "GET", "path": "/jobcodes", **call}
    return [n for n in range(1, calls + 1) if script.decide(**given)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"times": 2}, [1, 2]),
        ({"nth": [2, 5]}, [2, 5]),
        ({"nth": 3}, [3]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"share": 0}, []),
        ({"share": 1, "times": 1}, [1]),
    ],
)
def test_a_rule_fires_on_the_calls_it_names(choice: dict[str, Any], expected: list[int]) -> None:
    assert fired(DROP | choice, 6) == expected


def test_a_share_is_about_as_large_as_it_says_and_the_same_each_time() -> None:
    first = fired(DROP | {"share": 0.3}, 1000)
    assert 250 < len(first) < 350
    assert fired(DROP | {"share": 0.3}, 1000) == first


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ({"service": "qbt"}, True),
        ({"service": "rm"}, False),
        ({"method": "get"}, True),
        ({"method": "POST"}, False),
        ({"path": "/jobcodes"}, True),
        ({"path": "/JOBCODES/"}, True),
        ({"path": "/"}, True),
        ({"path": "/jobcode"}, False),
        ({"path": "/locations"}, False),
    ],
)
def test_a_rule_is_about_its_service_method_and_path(rule: dict[str, Any], fires: bool) -> None:
    assert bool(fired(DROP | rule, 1)) is fires


def test_a_path_takes_what_lies_below_it_but_not_a_longer_name() -> None:
    assert fired(DROP | {"path": "/api/Jobs"}, 1, service="rm", path="/api/jobs/4711")
    assert not fired(DROP | {"path": "/locations"}, 1, path="/locations_map")


def test_the_first_rule_that_fires_decides_and_every_matching_one_counts() -> None:
    script = FaultScript()
    script.set([{"kind": "drop", "nth": [1]}, {"kind": "lost", "nth": [2]}, {"kind": "html"}])
    kinds = [fault.kind for _ in range(3) if (fault := script.decide("rm", "GET", "/api/Jobs"))]
    assert kinds == ["drop", "lost", "html"]
    assert [(rule["seen"], rule["used"]) for rule in script.rules()] == [(3, 1), (3, 1), (3, 1)]


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "a fault needs a kind"),
        ({"kind": "explode"}, "kind of a fault cannot be 'explode': must be one of status"),
        ({"kind": "drop", "when": 1}, "unknown field of a fault: when"),
        ({"kind": "drop", "nth": [0]}, "must be a number from 1"),
        ({"kind": "drop", "nth": []}, "must name at least one"),
        ({"kind": "drop", "nth": "2"}, "must be a number from 1"),
        ({"kind": "drop", "share": 1.5}, "must be from 0 to 1"),
        ({"kind": "drop", "share": "many"}, "share of a fault cannot be 'many'"),
        ({"kind": "drop", "nth": [1], "every": 2}, "one of nth, every and share"),
        ({"kind": "status", "status": 99}, "must be from 200 to 599"),
        ({"kind": "slow", "seconds": -1}, "must not be negative"),
        ({"kind": "slow", "act": "maybe"}, "must be true or false"),
        ({"kind": "items"}, "needs positions, item_share or where"),
        ({"kind": "drop", "service": "qbo"}, "must be one of rm, qbt"),
        ({"kind": "status", "body": {"error": 1}}, "must be a text"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_line(
    rule: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        Fault.from_json(rule)
    assert "\n" not in str(caught.value)


def test_a_refused_script_leaves_the_one_in_force() -> None:
    script = FaultScript()
    script.set([DROP])
    with pytest.raises(ValueError, match="kind"):
        script.set([DROP, {"kind": "explode"}])
    assert len(script.rules()) == 1


def test_a_rule_reads_back_what_it_writes() -> None:
    rule = Fault.from_json({"kind": "items", "where": {"name": "A"}, "code": 417, "extra": "Oops!"})
    assert Fault.from_json(rule.to_json()) == rule


# -- what becomes of a call --------------------------------------------------------------


class Service:
    """Answers every item of a write with its name, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def handle(self, request: Request) -> Answer:
        self.asked.append(request)
        items = delivery.data_items(request)
        done = {str(n): {"_status_code": 200, **item} for n, item in enumerate(items, 1)}
        return Answer.json({"results": {"jobcodes": done}, "supplemental_data": {}})


def write(*names: str) -> Request:
    body = json.dumps({"data": [{"name": name} for name in names]}).encode()
    return Request(method="POST", path="/jobcodes", body=body)


def perform(
    rule: dict[str, Any], request: Request, service: Service, name: str = "qbt"
) -> delivery.Delivery:
    fault = Fault.from_json(rule)
    doing = delivery.perform(name, request, service.handle, fault, random.Random(1))
    return asyncio.run(doing)


@pytest.mark.parametrize(
    ("rule", "acts", "status"),
    [
        ({"kind": "status"}, 0, 503),
        ({"kind": "status", "status": 402}, 0, 402),
        ({"kind": "rate_limited"}, 0, 429),
        ({"kind": "drop"}, 0, None),
        ({"kind": "lost"}, 1, None),
        ({"kind": "act_then_status"}, 1, 503),
        ({"kind": "act_then_status", "status": 500}, 1, 500),
        ({"kind": "garbled"}, 1, 200),
        ({"kind": "garbled", "act": False}, 0, 200),
        ({"kind": "html"}, 0, 200),
        ({"kind": "html", "act": True, "status": 502}, 1, 502),
        ({"kind": "cut"}, 1, 200),
        ({"kind": "slow", "seconds": 0}, 1, 200),
        ({"kind": "slow", "seconds": 0, "act": "after"}, 1, 200),
        ({"kind": "drip"}, 1, 200),
    ],
)
def test_each_kind_acts_and_answers_as_it_says(
    rule: dict[str, Any], acts: int, status: int | None
) -> None:
    service = Service()
    made = perform(rule, write("A"), service)
    assert len(service.asked) == acts
    assert (made.answer.status if made.answer else None) == status


@pytest.mark.parametrize(
    ("service", "rule", "start"),
    [
        ("qbt", {"kind": "status", "status": 500}, b'{"error": {"code": 500, "message": "Internal'),
        ("qbt", {"kind": "rate_limited"}, b'{"error": {"code": 429, "message": "Too many'),
        ("rm", {"kind": "status", "status": 500}, b'{"Message": "Internal Server Error"}'),
        ("rm", {"kind": "status", "html": True}, b"<!DOCTYPE html>"),
        ("rm", {"kind": "status", "body": "no"}, b"no"),
        ("qbt", {"kind": "html"}, b"<!DOCTYPE html>"),
        ("qbt", {"kind": "garbled"}, b'{"results": {"oops'),
    ],
)
def test_a_failure_carries_the_body_of_its_service(
    service: str, rule: dict[str, Any], start: bytes
) -> None:
    answer = perform(rule, write("A"), Service(), service).answer
    assert answer is not None
    assert answer.body.startswith(start)


def test_a_failure_can_carry_headers() -> None:
    rule = {"kind": "rate_limited", "headers": {"Retry-After": "7"}}
    answer = perform(rule, write("A"), Service()).answer
    assert answer is not None
    assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("choice", "spared"),
    [
        ({"positions": [2]}, ["A", "C"]),
        ({"positions": [1, 2, 3]}, []),
        ({"positions": [9]}, ["A", "B", "C"]),
        ({"where": {"name": "C"}}, ["A", "B"]),
        ({"item_share": 1}, []),
        ({"item_share": 0}, ["A", "B", "C"]),
    ],
)
def test_failing_items_are_left_out_and_the_others_done_by_position(
    choice: dict[str, Any], spared: list[str]
) -> None:
    service = Service()
    rule = {"kind": "items", "code": 417, "message": "Expectation Failed", "extra": "Oops!"}
    answer = perform(rule | choice, write("A", "B", "C"), service).answer
    assert answer is not None
    results = json.loads(answer.body)["results"]["jobcodes"]
    assert [item["name"] for item in results.values()] == ["A", "B", "C"]
    assert list(results) == ["1", "2", "3"]
    assert [i["name"] for i in results.values() if i["_status_code"] == 200] == spared
    assert all(i["_status_extra"] == "Oops!" for i in results.values() if i["name"] not in spared)
    asked = [item["name"] for request in service.asked for item in delivery.data_items(request)]
    assert asked == spared


def test_an_items_rule_leaves_reads_alone() -> None:
    assert fired({"kind": "items", "positions": [1]}, 2) == []
