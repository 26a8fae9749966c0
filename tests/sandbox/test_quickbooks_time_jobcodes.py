"""Creating and changing jobcodes, one batch at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.quickbooks_time_desk import Desk, error_of, extra

# The batch


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"data": [{"name": ', 400),
        (b"\xff", 400),
        (b"{}", 417),
        (b"[]", 417),
        (b'{"data": {}}', 417),
        (b'{"data": []}', 417),
    ],
)
def test_a_body_without_a_list_of_items_is_refused(body: bytes, status: int) -> None:
    answer = Desk().ask("POST", "/jobcodes", body=body)
    assert (answer.status, error_of(answer)[0]) == (status, status)


def test_a_write_must_say_that_it_is_json() -> None:
    desk = Desk()
    body = b'{"data":[{"name":"A"}]}'
    plain = {"authorization": "Bearer sandbox-token"}
    assert desk.ask("POST", "/jobcodes", body=body, headers=plain).status == 400


def test_51_items_are_413_and_nothing_is_applied() -> None:
    desk = Desk()
    body = json.dumps({"data": [{"name": f"J{place}"} for place in range(51)]}).encode()
    answer = desk.ask("POST", "/jobcodes", body=body)
    assert (answer.status, desk.names()) == (413, [])


def test_items_are_independent_and_keyed_by_their_position() -> None:
    desk = Desk()
    found = desk.post("/jobcodes", {"name": "A"}, {}, {"name": "a"}, "B", {"name": "C"})
    assert [item["_status_code"] for item in found] == [200, 417, 202, 417, 200]
    assert [item["_status_message"] for item in found][:3] == [
        "Created",
        "Expectation Failed",
        "Accepted",
    ]
    assert desk.names() == ["A", "C"]


@pytest.mark.parametrize(("switch", "status"), [(False, 200), (True, 417)])
def test_a_batch_that_failed_as_a_whole_can_be_an_http_417(switch: bool, status: int) -> None:
    desk = Desk(all_failed_status_417=switch)
    failed = desk.ask("POST", "/jobcodes", body=b'{"data":[{}]}')
    partly = desk.ask("POST", "/jobcodes", body=b'{"data":[{},{"name":"A"}]}')
    assert (failed.status, partly.status) == (status, 200)
    assert json.loads(failed.body)["results"]["jobcodes"]["1"]["_status_code"] == 417


# Creating


def test_a_new_jobcode_has_the_documented_shape_and_no_locations_yet() -> None:
    desk = Desk()
    (made,) = desk.post("/jobcodes", {"name": " BMS-1 "})
    job = made.pop("id")
    assert made == {
        "_status_code": 200,
        "_status_message": "Created",
        "parent_id": 0,
        "assigned_to_all": False,
        "billable": False,
        "active": True,
        "type": "regular",
        "has_children": False,
        "billable_rate": 0,
        "short_code": "",
        "name": "BMS-1",
        "last_modified": "2026-01-05T12:00:00+00:00",
        "created": "2026-01-05T12:00:00+00:00",
        "required_customfields": [],
        "filtered_customfielditems": "",
    }
    assert desk.jobcode(job)["locations"] == []
    assert desk.jobcode(job)["geofence_config_id"] is None


@pytest.mark.parametrize("yes", [True, "yes", "Yes", "true", 1, "1"])
@pytest.mark.parametrize("no", [False, "no", "false", 0, "0"])
def test_booleans_are_taken_in_many_spellings_and_returned_as_booleans(
    yes: object, no: object
) -> None:
    (made,) = Desk().post("/jobcodes", {"name": "A", "assigned_to_all": yes, "billable": no})
    assert (made["assigned_to_all"], made["billable"]) == (True, False)


def test_numbers_may_be_text() -> None:
    desk = Desk()
    top = desk.job("Top")
    (made,) = desk.post("/jobcodes", {"name": "A", "parent_id": str(top), "billable_rate": "37.50"})
    assert (made["parent_id"], made["billable_rate"]) == (top, 37.5)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "name is required"),
        ({"name": "  "}, "name is required"),
        ({"name": "x" * 65}, "64"),
        ({"name": "A", "active": "maybe"}, "Invalid value for active"),
        ({"name": "A", "billable_rate": "much"}, "Invalid value for billable_rate"),
        ({"name": "A", "parent_id": 999}, "parent jobcode does not exist"),
        ({"name": ["A"]}, "Invalid value for name"),
        ({"name": "A", "type": "paid_break"}, "paid_break"),
        ({"name": "A", "type": "job"}, "job"),
        ({"name": "Holiday"}, 'conflicts with another item named "Holiday"'),
        ({"name": "A", "connect_with_quickbooks": True}, "Invalid param(s)"),
        ({"name": "A", "id": 5, "locations": []}, "Invalid param(s): id,locations"),
        ({"name": "A", "geofence_config_id": 0}, "Invalid param(s): geofence_config_id"),
    ],
)
def test_a_create_that_breaks_a_rule_is_refused_with_the_reason(
    item: dict[str, object], words: str
) -> None:
    desk = Desk()
    desk.job("Holiday", type="pto")
    (found,) = desk.post("/jobcodes", item)
    assert words in extra(found)
    assert "id" not in found
    assert len(desk.names(type="all", active="both")) == 1


@pytest.mark.parametrize(
    ("switches", "item"),
    [
        ({"max_jobcodes": 2}, {"name": "A"}),
        ({}, {"name": "x" * 64}),
        ({}, {"name": "ü" * 64}),
        ({}, {"name": "A", "short_code": "a1"}),
    ],
)
def test_these_creates_are_accepted(switches: dict[str, Any], item: dict[str, object]) -> None:
    desk = Desk(**switches)
    desk.job("Holiday", type="pto")
    assert desk.post("/jobcodes", item)[0]["_status_code"] == 200


@pytest.mark.parametrize(
    ("switches", "item", "words"),
    [
        ({"name_length_in_bytes": True}, {"name": "ü" * 33}, "64"),
        ({"names_trimmed": False}, {"name": "x" * 64 + " "}, "64"),
        ({"max_jobcodes": 1}, {"name": "A"}, "maximum number"),
        ({"admin": False}, {"name": "A"}, "Oops! You don't have permission"),
    ],
)
def test_some_switches_make_creates_harder(
    switches: dict[str, Any], item: dict[str, object], words: str
) -> None:
    desk = Desk(**switches)
    desk.account.add_jobcode(name="Holiday", type="pto")
    assert words in extra(desk.post("/jobcodes", item)[0])


@pytest.mark.parametrize("right", ["admin", "manage_jobcodes"])
def test_either_right_is_enough_to_write_jobcodes(right: str) -> None:
    desk = Desk(**{"admin": False, right: True})
    desk.place(linked_objects={"jobcodes": [desk.job()]})


def test_a_pto_jobcode_stands_at_the_top() -> None:
    desk = Desk()
    (made,) = desk.post("/jobcodes", {"name": "A", "type": "pto", "parent_id": desk.job("Top")})
    assert "top level" in extra(made)


def test_an_existing_name_is_202_with_the_name_alone_and_changes_nothing() -> None:
    desk = Desk()
    job = desk.job("BMS-1", billable=True)
    before = desk.jobcode(job)
    desk.account.advance(60)
    found = desk.post("/jobcodes", {"name": "bms-1 ", "billable": False})
    assert found == [{"_status_code": 202, "_status_message": "Accepted", "name": "bms-1"}]
    assert desk.jobcode(job) == before
    desk.account.switches.update({"duplicate_echo_full": True})
    assert desk.post("/jobcodes", {"name": "BMS-1"})[0]["id"] == job


def test_names_are_unique_under_one_parent_only() -> None:
    desk = Desk()
    top = desk.job("BMS-1")
    assert desk.post("/jobcodes", {"name": "BMS-1", "parent_id": top})[0]["_status_code"] == 200


def test_names_can_be_compared_without_accents_but_are_looked_up_with_them() -> None:
    desk = Desk(names_without_accents=True)
    desk.job("Canon")
    assert desk.post("/jobcodes", {"name": "cañon"})[0]["_status_code"] == 202
    assert desk.names(name="cañon", parent_ids=0) == desk.names(name="Cañon") == []
    desk.account.switches.update({"names_without_accents": False})
    assert desk.post("/jobcodes", {"name": "cañon"})[0]["_status_code"] == 200


def test_names_can_be_compared_with_case() -> None:
    desk = Desk(names_exact=True)
    desk.job("BMS-1")
    assert desk.post("/jobcodes", {"name": "bms-1"})[0]["_status_code"] == 200
    assert desk.post("/jobcodes", {"name": "BMS-1"})[0]["_status_code"] == 202


@pytest.mark.parametrize(
    ("choice", "code", "rows"), [("accepted", 202, 1), ("twin", 200, 2), ("refused", 417, 1)]
)
def test_an_archived_namesake_can_be_met_in_three_ways(choice: str, code: int, rows: int) -> None:
    desk = Desk(archived_namesake=choice)
    job = desk.job("BMS-1")
    desk.put("/jobcodes", {"id": job, "active": False})
    assert desk.post("/jobcodes", {"name": "BMS-1"})[0]["_status_code"] == code
    assert len(desk.rows("jobcodes", active="both")) == rows


def test_a_twin_blocks_the_restore_of_the_archived_one() -> None:
    desk = Desk()
    job = desk.job("BMS-1")
    desk.put("/jobcodes", {"id": job, "active": False})
    desk.account.add_jobcode(name="BMS-1")
    (found,) = desk.put("/jobcodes", {"id": job, "active": True})
    assert "conflicts with another item" in extra(found)
    assert desk.jobcode(job)["active"] is False
    assert desk.put("/jobcodes", {"id": job, "active": 1, "name": "x"})[0]["_status_code"] == 200


# Changing


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    desk = Desk()
    job = desk.job("BMS-1", billable_rate=5, assigned_to_all=True)
    desk.account.advance(60)
    (found,) = desk.put("/jobcodes", {"id": str(job), "name": "BMS-2"})
    assert (found["_status_message"], found["name"]) == ("Updated", "BMS-2")
    assert (found["billable_rate"], found["assigned_to_all"]) == (5, True)
    assert found["last_modified"] == "2026-01-05T12:01:00+00:00"
    assert found["created"] == "2026-01-05T12:00:00+00:00"
    assert desk.post("/jobcodes", {"name": "BMS-1"})[0]["_status_code"] == 200


@pytest.mark.parametrize(("switch", "minute"), [(False, "00"), (True, "01")])
def test_an_update_without_a_change_leaves_the_row_alone_by_default(
    switch: bool, minute: str
) -> None:
    desk = Desk(not_modified_moves_last_modified=switch)
    job = desk.job()
    desk.account.advance(60)
    (found,) = desk.put("/jobcodes", {"id": job, "name": "BMS-1", "type": "regular"})
    assert found["last_modified"] == f"2026-01-05T12:{minute}:00+00:00"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": None, "name": "A"}, "Missing param: id"),
        ({"id": 1, "name": "A"}, "That id is not found in the database"),
        ({"name": "TAKEN"}, 'conflicts with another item named "Taken"'),
        ({"name": ""}, "name is required"),
        ({"type": "pto"}, "type"),
        ({"has_children": False}, "Invalid param(s): has_children"),
        ({"created": "", "geofence_config_id": 0}, "Invalid param(s): created,geofence_config_id"),
        ({"parent_id": "self"}, "own parent"),
        ({"parent_id": "child"}, "own parent"),
        ({"parent_id": "gone"}, "archived"),
    ],
)
def test_an_update_that_breaks_a_rule_is_refused_and_repeats_its_id(
    item: dict[str, object], words: str
) -> None:
    desk = Desk()
    ids = {"self": desk.job("A"), "taken": desk.job("Taken"), "gone": desk.job("Gone")}
    ids["child"] = desk.job("Child", parent_id=ids["self"])
    desk.put("/jobcodes", {"id": ids["gone"], "active": False})
    if "parent_id" in item:
        item = {"parent_id": ids[str(item["parent_id"])]}
    (found,) = desk.put("/jobcodes", {"id": ids["self"], **item})
    assert words in extra(found)
    assert "id" in found


def test_refusals_of_updates_have_switches() -> None:
    desk = Desk(rename_clash="accepted", unknown_id_code=404, failed_update_echoes_id=False)
    desk.job("Taken")
    clash, unknown = desk.put(
        "/jobcodes", {"id": desk.job("A"), "name": "Taken"}, {"id": 1, "name": "B"}
    )
    assert clash["_status_code"] == 202
    assert unknown["_status_code"] == 404
    assert "id" not in unknown
    assert desk.names() == ["Taken", "A"]


def test_a_jobcode_can_move_below_another() -> None:
    desk = Desk()
    top, job = desk.job("Top"), desk.job("A")
    desk.put("/jobcodes", {"id": job, "parent_id": top})
    assert desk.jobcode(top)["has_children"] is True
    assert desk.job("A") != job
