"""Listings: pages, filters, dates, and how the answers look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.quickbooks_time_desk import Desk, error_of


def filled(count: int, **switches: Any) -> Desk:
    desk = Desk(**switches)
    for place in range(count):
        desk.account.add_jobcode(name=f"J{place:03}")
    return desk


def test_rows_are_keyed_by_their_id_as_text() -> None:
    desk = Desk()
    job = desk.job()
    found = desk.get("/jobcodes")
    assert list(found["results"]["jobcodes"]) == [str(job)]
    assert found["more"] is False


@pytest.mark.parametrize(
    ("switches", "body"),
    [
        ({}, {"results": {"jobcodes": []}, "more": False}),
        ({"empty_as_list": False}, {"results": {"jobcodes": {}}, "more": False}),
        ({"empty_results": "missing"}, {"results": {}, "more": False}),
        ({"empty_results": "bare_list"}, []),
    ],
)
def test_no_rows_can_look_in_four_ways(switches: dict[str, Any], body: Any) -> None:
    assert Desk(**switches).get("/jobcodes") == body


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({}, 200),
        ({"limit": 7}, 7),
        ({"limit": 200, "page": 2}, 5),
        ({"page": 9}, 0),
    ],
)
def test_a_page_has_200_rows_or_fewer(query: dict[str, object], rows: int) -> None:
    assert len(filled(205).rows("jobcodes", **query)) == rows


def test_the_pages_together_hold_every_row_once_and_only_the_last_has_no_more() -> None:
    desk = filled(25)
    pages = [desk.get("/jobcodes", limit=10, page=page) for page in (1, 2, 3)]
    names = [row["name"] for page in pages for row in page["results"]["jobcodes"].values()]
    assert names == [f"J{place:03}" for place in range(25)]
    assert [page["more"] for page in pages] == [True, True, False]


def test_page_zero_is_page_one_and_a_page_past_the_end_is_empty() -> None:
    desk = filled(3)
    assert desk.names(limit=2, page=0) == desk.names(limit=2, page=1)
    past = desk.get("/jobcodes", page=99)
    assert (past["results"]["jobcodes"], past["more"]) == ([], False)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": -1},
        {"limit": "ten"},
        {"limit": "1.5"},
        {"page": -1},
        {"page": "two"},
        {"ids": "1,x"},
        {"modified_since": "yesterday"},
        {"modified_since": "2026-01-05T12:00:00 00:00"},
    ],
)
def test_a_parameter_that_cannot_be_read_is_417(query: dict[str, object]) -> None:
    answer = Desk().ask("GET", "/jobcodes", query=query)
    assert answer.status == 417
    assert error_of(answer)[1].startswith("Expectation Failed: ")


@pytest.mark.parametrize(
    ("switch", "query", "status"),
    [
        ({"strict_filters": True}, {"active": "true"}, 417),
        ({"strict_filters": True}, {"type": "job"}, 417),
        ({"unknown_parameter_refused": True}, {"colour": "red"}, 417),
        ({"naive_dates_refused": True}, {"modified_since": "2026-01-05T12:00:00"}, 417),
    ],
)
def test_how_strict_parameters_are_is_a_switch(
    switch: dict[str, Any], query: dict[str, object], status: int
) -> None:
    assert Desk(**switch).ask("GET", "/jobcodes", query=query).status == status


def test_rows_come_by_id_by_last_change_or_shuffled_inside_their_page() -> None:
    desk = filled(30)
    by_id = desk.names(limit=20)
    desk.account.advance(60)
    first = desk.rows("jobcodes", limit=1)[0]["id"]
    desk.account.change_jobcode(first, billable=True)
    desk.account.switches.update({"order": "last_modified"})
    assert desk.names()[-1] == "J000"
    desk.account.switches.update({"order": "random"})
    shuffled = desk.names(limit=20)
    assert shuffled != by_id
    assert sorted(shuffled) == sorted(by_id)


def family() -> tuple[Desk, dict[str, int]]:
    desk = Desk()
    ids = {
        "Top": desk.job("Top"),
        "top two": desk.job("top two"),
        "Gone": desk.job("Gone"),
        "Leave": desk.job("Leave", type="pto"),
    }
    ids["Child"] = desk.job("Child", parent_id=ids["Top"])
    desk.account.change_jobcode(ids["Gone"], active=False)
    return desk, ids


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["Top", "top two", "Child"]),
        ({"active": "both"}, ["Top", "top two", "Gone", "Child"]),
        ({"active": "no"}, ["Gone"]),
        ({"active": "true"}, ["Top", "top two", "Child"]),
        ({"type": "pto"}, ["Leave"]),
        ({"type": "all", "active": "both"}, ["Top", "top two", "Gone", "Leave", "Child"]),
        ({"parent_ids": 0}, ["Top", "top two"]),
        ({"parent_ids": -1}, ["Top", "top two", "Child"]),
        ({"name": "top"}, ["Top"]),
        ({"name": "top", "parent_ids": 0}, ["Top"]),
        ({"name": "TOP*"}, ["Top", "top two"]),
        ({"name": "*o*"}, ["Top", "top two"]),
        ({"name": "op*"}, []),
        ({"name": "gone"}, []),
        ({"name": "gone", "active": "both"}, ["Gone"]),
        ({"colour": "red", "parent_ids": 0}, ["Top", "top two"]),
        ({"parent_ids": 0, "name": "top*", "active": "no"}, []),
    ],
)
def test_jobcode_filters_hold_together_and_have_their_documented_defaults(
    query: dict[str, object], names: list[str]
) -> None:
    assert family()[0].names(**query) == names


def test_asking_for_an_archived_id_needs_active_both() -> None:
    desk, ids = family()
    wanted = f"{ids['Gone']},{ids['Top']},1"
    assert desk.names(ids=wanted) == ["Top"]
    assert desk.names(ids=wanted, active="both") == ["Top", "Gone"]


def test_a_name_without_a_wild_card_can_match_as_a_prefix() -> None:
    desk, _ = family()
    desk.account.switches.update({"name_filter_prefix": True})
    assert desk.names(name="top") == ["Top", "top two"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"modified_since": "2026-01-05T12:00:10+00:00"}, ["B", "C"]),
        ({"modified_since": "2026-01-05T05:00:10-0700"}, ["B", "C"]),
        ({"modified_since": "2026-01-05T05:00:10-07:00"}, ["B", "C"]),
        ({"modified_since": "2026-01-05T12:00:10"}, ["B", "C"]),
        ({"modified_since": "2026-01-05T12:00:11Z"}, ["C"]),
    ],
)
def test_since_is_inclusive(query: dict[str, object], names: list[str]) -> None:
    desk = Desk()
    for name in "ABC":
        desk.job(name)
        desk.account.advance(10)
    assert desk.names(**query) == names


def test_since_can_be_exclusive() -> None:
    desk = Desk(since_inclusive=False)
    desk.job()
    assert desk.names(modified_since="2026-01-05T12:00:00Z") == []


def test_moments_are_written_in_utc_with_an_offset() -> None:
    desk = Desk()
    assert desk.jobcode(desk.job())["created"] == "2026-01-05T12:00:00+00:00"


@pytest.mark.parametrize(
    ("switches", "rights"),
    [
        ({}, (True, False, False)),
        ({"admin": False, "manage_jobcodes": True}, (False, True, False)),
        ({"admin": False, "manage_users": True}, (False, False, True)),
    ],
)
def test_current_user_shows_the_rights_of_the_token(
    switches: dict[str, Any], rights: tuple[bool, ...]
) -> None:
    desk = Desk(**switches)
    ((key, user),) = desk.get("/current_user")["results"]["users"].items()
    shown = user["permissions"]
    assert key == str(desk.account.user_id)
    assert (shown["admin"], shown["manage_jobcodes"], shown["manage_users"]) == rights
    assert (user["customfields"], user["display_name"]) == ("", None)


def test_effective_settings_keep_the_mixed_types_of_the_service() -> None:
    desk = Desk(quickbooks_installed=True, max_jobcodes=500)
    found = desk.get("/effective_settings")["results"]["effective_settings"]
    assert found["general"]["settings"]["max_jobcodes"] == "500"
    assert found["quickbooks"]["settings"]["installed"] == "1"
    plain = Desk().get("/effective_settings")
    quickbooks = plain["results"]["effective_settings"]["quickbooks"]
    assert quickbooks["settings"] == {"installed": 0}
    assert quickbooks["last_modified"] == "2001-01-01T12:00:00+00:00"


def test_timesheets_need_a_range() -> None:
    desk = Desk()
    query = {"on_the_clock": "yes"}
    assert desk.ask("GET", "/timesheets", query=query).status == 417


def at_work() -> tuple[Desk, dict[str, int]]:
    desk = Desk()
    ids = {"job": desk.job("Job"), "other": desk.job("Other")}
    ids["child"] = desk.job("Child", parent_id=ids["job"])
    ids["bo"] = desk.account.add_user(first_name="Bo", last_name="Tech")
    ids["done"] = desk.account.clock_in(ids["other"], ids["bo"])
    desk.account.advance(3600)
    ids["now"] = desk.account.clock_in(ids["child"])
    desk.account.clock_out(ids["done"])
    return desk, ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["done"]),
        ({"on_the_clock": "yes"}, ["now"]),
        ({"on_the_clock": "both"}, ["done", "now"]),
        ({"on_the_clock": "both", "jobcode_ids": "job"}, ["now"]),
        ({"on_the_clock": "both", "jobcode_ids": "other"}, ["done"]),
        ({"on_the_clock": "both", "end_date": "2026-01-04"}, []),
        ({"on_the_clock": "both", "start_date": "2026-01-06"}, []),
        ({"on_the_clock": "both", "modified_since": "2026-01-05T13:00:01Z"}, []),
    ],
)
def test_timesheets_are_filtered_and_those_of_children_count(
    query: dict[str, str], found: list[str]
) -> None:
    desk, ids = at_work()
    real = {key: str(ids.get(value, value)) for key, value in query.items()}
    rows = desk.rows("timesheets", **{"start_date": "2026-01-05", **real})
    assert [row["id"] for row in rows] == [ids[each] for each in found]


def test_a_timesheet_on_the_clock_has_no_end_and_grows() -> None:
    desk, ids = at_work()
    desk.account.advance(60)
    found = desk.get("/timesheets", ids=ids["now"], on_the_clock="yes")
    row = found["results"]["timesheets"][str(ids["now"])]
    assert (row["on_the_clock"], row["end"], row["duration"]) == (True, "", 60)


def test_clocking_in_elsewhere_clocks_out_here() -> None:
    desk, ids = at_work()
    desk.account.clock_in(ids["other"])
    (row,) = desk.rows("timesheets", ids=ids["now"])
    assert row["on_the_clock"] is False


def test_ids_can_need_more_than_32_bits_and_always_rise() -> None:
    desk = Desk()
    small = desk.job("A")
    desk.account.switches.update({"ids_above_2_31": True})
    large = desk.job("B")
    desk.account.switches.update({"ids_above_2_31": False})
    assert small < 2**31 < large < desk.job("C")


def test_an_answer_is_json_with_its_content_type() -> None:
    answer = Desk().ask("GET", "/jobcodes")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.body)["more"] is False
