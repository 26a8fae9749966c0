"""The account as a whole: switches, edits by hand, threads, its size, and its promises."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cprqueue.sandbox.quickbooks_time import Account, Switches
from cprqueue.sandbox.wire import Request
from tests.sandbox.quickbooks_time_desk import Desk


def test_switches_are_set_by_name() -> None:
    switches = Switches()
    switches.update({"rate_limit": 5, "grant_grace": 1, "force_status": None, "order": "random"})
    assert (switches.rate_limit, switches.grant_grace, switches.order) == (5, 1, "random")


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"rate_limits": 5}, "there is no switch 'rate_limits'; known: "),
        ({"rate_limit": "5"}, "switch 'rate_limit' takes a whole number, not '5'"),
        ({"rate_limit": True}, "switch 'rate_limit' takes a whole number, not True"),
        ({"admin": 1}, "switch 'admin' takes true or false, not 1"),
        ({"grant_grace": "x"}, "switch 'grant_grace' takes a number, not 'x'"),
        ({"force_status": "x"}, "switch 'force_status' takes a whole number or null, not 'x'"),
        ({"order": "up"}, "switch 'order' takes one of id, last_modified, random, not 'up'"),
        ({"order": []}, "switch 'order' takes one of id, last_modified, random, not []"),
    ],
)
def test_a_wrong_switch_is_refused_in_one_line(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:
        Switches().update(given_)
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_an_update_with_one_wrong_switch_sets_none() -> None:
    switches = Switches()
    with pytest.raises(ValueError):
        switches.update({"rate_limit": 5, "colour": "red"})
    assert switches.rate_limit == 300


def test_every_default_is_a_value_that_its_switch_takes() -> None:
    switches = Switches()
    switches.update({each.name: getattr(switches, each.name) for each in fields(switches)})
    assert switches == Switches()


def test_edits_by_hand_need_no_right_cost_no_call_and_show_at_once() -> None:
    desk = Desk(admin=False, rate_limit=1)
    account = desk.account
    job = account.add_jobcode(name="BMS-1", assigned_to_all=True)
    place = account.add_location(addr1="7 Any St", linked_objects={"jobcodes": [job]})
    account.change_jobcode(job, name="BMS-2")
    account.change_location(place, city="Elko")
    sheet = account.clock_in(job)
    account.clock_out(sheet)
    account.clock_out(sheet)
    assert account.calls == 0
    assert desk.names() == ["BMS-2"]


def test_an_edit_by_hand_that_breaks_a_rule_raises() -> None:
    account = Account()
    job = account.add_jobcode(name="BMS-1")
    for edit in (
        lambda: account.add_jobcode(name="bms-1"),
        lambda: account.add_jobcode(name=""),
        lambda: account.change_jobcode(job, colour="red"),
        lambda: account.change_location(5, city="x"),
        lambda: account.clock_in(5),
        lambda: account.clock_out(5),
        lambda: account.add_user(colour="red"),
    ):
        with pytest.raises(ValueError):
            edit()


def test_the_state_is_plain_data_with_every_row() -> None:
    desk = Desk()
    job = desk.job("BMS-1", assigned_to_all=True)
    place = desk.place(linked_objects={"jobcodes": [job]})
    desk.account.clock_in(job)
    desk.put("/jobcodes", {"id": job, "active": False})
    state = desk.account.state()
    assert json.loads(json.dumps(state)) == state
    assert state["jobcodes"][0] == desk.jobcode(job)
    assert state["jobcodes"][0]["locations"] == [place]
    assert state["locations"][0]["linked_objects"] == {"jobcodes": [job]}
    assert state["jobcode_assignments"][0]["active"] is False
    assert state["timesheets"][0]["on_the_clock"] is True
    assert [user["id"] for user in state["users"]] == [desk.account.user_id]


def test_nothing_that_is_sent_makes_the_account_raise(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    assert desk.account.handle(Request(method="", path="")).status == 401
    desk.account._routes["/jobcodes"]["GET"] = lambda request: 1 / 0
    assert desk.ask("GET", "/jobcodes").status == 500
    assert "sandbox.quickbooks_time.failed" in caplog.text


def test_many_threads_never_make_one_name_twice() -> None:
    desk = Desk(rate_limit=10_000)
    body = json.dumps({"data": [{"name": f"J{place}"} for place in range(20)]}).encode()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(desk.ask, "POST", "/jobcodes", body=body)
    assert len(desk.names()) == 20
    assert desk.account.calls == 41


def test_ten_thousand_jobcodes_cost_little() -> None:
    desk = Desk(rate_limit=10_000)
    started = time.perf_counter()
    for batch in range(200):
        made = desk.post("/jobcodes", *({"name": f"J{batch}-{item}"} for item in range(50)))
        assert {item["_status_code"] for item in made} == {200}
    pages = [desk.get("/jobcodes", page=page) for page in range(1, 51)]
    assert [page["more"] for page in pages] == [True] * 49 + [False]
    assert time.perf_counter() - started < 20  # about a second; a scan for each item takes minutes


_NAMES = st.sampled_from(["A", "a", " A", "B", "C", "x" * 65, ""])
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "rename", "archive", "restore", "move"]),
        _NAMES,
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(steps=_STEPS)
def test_whatever_is_written_active_names_are_unique_and_the_tree_is_whole(
    steps: list[tuple[str, str, int, int]],
) -> None:
    desk = Desk()
    for verb, name, one, other in steps:
        _step(desk, verb, name, one, other)
    rows = {row["id"]: row for row in desk.account.state()["jobcodes"]}
    active = [row for row in rows.values() if row["active"]]
    keys = [(row["parent_id"], row["name"].casefold()) for row in active]
    assert len(keys) == len(set(keys))
    assert all(row["parent_id"] == 0 or rows[row["parent_id"]]["active"] for row in active)
    parents = {row["parent_id"] for row in active}
    assert all(row["has_children"] == (row["id"] in parents) for row in rows.values())


def _step(desk: Desk, verb: str, name: str, one: int, other: int) -> None:
    ids = [0] + [row["id"] for row in desk.account.state()["jobcodes"]]
    job, parent = ids[one % len(ids)], ids[other % len(ids)]
    changes: dict[str, dict[str, object]] = {
        "rename": {"name": name},
        "archive": {"active": False},
        "restore": {"active": True},
        "move": {"parent_id": parent},
    }
    if verb == "create":
        desk.post("/jobcodes", {"name": name, "parent_id": parent})
    else:
        desk.put("/jobcodes", {"id": job, **changes[verb]})
