"""Locations: their addresses, links and coordinates."""

from __future__ import annotations

import pytest

from tests.sandbox.quickbooks_time_desk import Desk


@pytest.mark.parametrize(
    ("fields", "formatted"),
    [
        (
            {
                "addr1": "235 E Main Dr",
                "addr2": "101",
                "city": "Eagle",
                "state": "ID",
                "zip": 83616,
            },
            "235 E Main Dr 101, Eagle, ID 83616",
        ),
        ({"city": "Eagle", "state": "ID"}, "Eagle, ID"),
        ({"addr1": "7 Any Street"}, "7 Any Street"),
        ({"zip": "83616", "label": "HQ"}, "HQ"),
        ({"addr1": "7 Any Street", "formatted_address": "elsewhere"}, "7 Any Street"),
    ],
)
def test_the_formatted_address_is_built_from_the_parts(
    fields: dict[str, object], formatted: str
) -> None:
    (made,) = Desk().post("/locations", fields)
    assert made["formatted_address"] == formatted


def test_a_new_location_has_no_coordinates_and_keeps_its_label() -> None:
    (made,) = Desk().post("/locations", {"addr1": "7 Any St", "label": "HQ", "zip": "01234"})
    assert (made["latitude"], made["longitude"], made["geocoding_status"]) == (0, 0, "none")
    assert (made["place_id"], made["place_id_hash"], made["label"]) == ("", "", "HQ")
    assert made["linked_objects"] == {}
    assert made["zip"] == "01234"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "address fields are required"),
        ({"addr1": "", "notes": "beware"}, "address fields are required"),
        ({"addr1": None}, "address fields are required"),
        ({"addr1": True}, "Invalid value for addr1"),
        ({"adr1": "7 Any St", "city": "Reno"}, "Invalid param(s): adr1"),
        ({"city": "Reno", "linked_objects": {"jobcodes": [1]}}, "no jobcode 1"),
        ({"city": "Reno", "linked_objects": {"jobcodes": [None]}}, "linked_objects"),
        ({"city": "Reno", "linked_objects": {"jobcodes": 5}}, "linked_objects"),
    ],
)
def test_a_location_that_breaks_a_rule_is_refused(item: dict[str, object], words: str) -> None:
    desk = Desk()
    (found,) = desk.post("/locations", item)
    assert found["_status_code"] == 417
    assert words in found["_status_extra"]
    assert desk.rows("locations", active="both") == []


def test_the_same_location_twice_is_two_locations() -> None:
    desk = Desk()
    assert desk.place() != desk.place()


def test_coordinates_appear_later_and_move_last_modified() -> None:
    desk = Desk()
    place, nowhere = desk.place(), desk.place(addr1="Any Street")
    desk.account.advance(59)
    assert desk.location(place)["geocoding_status"] == "none"
    desk.account.advance(1)
    row = desk.location(place)
    assert (row["geocoding_status"], len(row["place_id_hash"])) == ("complete", 32)
    assert row["latitude"] != 0
    assert row["label"] == "7 Any Street, Reno"
    assert row["last_modified"] == "2026-01-05T12:01:00+00:00"
    assert desk.location(nowhere)["geocoding_status"] == "error"


def test_geocoding_never_replaces_a_label_and_its_pace_is_a_switch() -> None:
    desk = Desk(geocode_seconds=0, geocode_moves_last_modified=False)
    place = desk.place(label="HQ")
    desk.account.advance(5)
    row = desk.location(place)
    assert (row["label"], row["geocoding_status"]) == ("HQ", "complete")
    assert row["last_modified"] == "2026-01-05T12:00:00+00:00"


def test_a_changed_address_is_geocoded_again() -> None:
    desk = Desk()
    place = desk.place()
    desk.account.advance(60)
    before = desk.location(place)["place_id_hash"]
    desk.put("/locations", {"id": place, "addr1": "8 Any Street"})
    assert desk.location(place)["geocoding_status"] == "none"
    desk.account.advance(60)
    assert desk.location(place)["place_id_hash"] != before


def linked() -> tuple[Desk, int, int, int]:
    desk = Desk()
    first, second = desk.job("A"), desk.job("B")
    place = desk.place(linked_objects={"jobcodes": [str(first)]})
    desk.account.advance(10)
    return desk, first, second, place


def test_linked_objects_replaces_the_list() -> None:
    desk, first, second, place = linked()
    desk.put("/locations", {"id": place, "linked_objects": {"jobcodes": [second, second]}})
    assert desk.location(place)["linked_objects"] == {"jobcodes": [second]}
    assert [desk.jobcode(each)["locations"] for each in (first, second)] == [[], [place]]


@pytest.mark.parametrize("links", [None, {}, []])
def test_links_that_are_not_named_stay(links: object) -> None:
    desk, first, _, place = linked()
    item = {"id": place, "notes": "beware"} | ({} if links is None else {"linked_objects": links})
    (found,) = desk.put("/locations", item)
    assert found["linked_objects"] == {"jobcodes": [first]}


def test_an_empty_list_unlinks() -> None:
    desk, first, _, place = linked()
    (found,) = desk.put("/locations", {"id": place, "linked_objects": {"jobcodes": []}})
    assert found["linked_objects"] == {}
    assert desk.jobcode(first)["locations"] == []


@pytest.mark.parametrize(("moves", "second"), [(False, "00"), (True, "10")])
def test_linking_moves_the_location_and_not_the_jobcode_by_default(
    moves: bool, second: str
) -> None:
    desk, _, other, place = linked()
    desk.account.switches.update({"linking_moves_jobcode": moves})
    desk.put("/locations", {"id": place, "linked_objects": {"jobcodes": [other]}})
    assert desk.jobcode(other)["last_modified"] == f"2026-01-05T12:00:{second}+00:00"
    assert desk.location(place)["last_modified"] == "2026-01-05T12:00:10+00:00"


def test_an_archived_jobcode_cannot_be_linked_unless_it_may() -> None:
    desk, _, other, place = linked()
    desk.put("/jobcodes", {"id": other, "active": False})
    item = {"id": place, "linked_objects": {"jobcodes": [other]}}
    assert "archived" in desk.put("/locations", item)[0]["_status_extra"]
    desk.account.switches.update({"link_archived_accepted": True})
    assert desk.put("/locations", item)[0]["_status_code"] == 200


def test_an_archived_location_cannot_be_edited_but_can_be_restored_in_one_step() -> None:
    desk = Desk()
    place = desk.place()
    archive = {"id": place, "active": False}
    assert [each["_status_code"] for each in desk.put("/locations", archive, archive)] == [200] * 2
    assert desk.rows("locations") == []
    (refused,) = desk.put("/locations", {"id": place, "city": "Elko"})
    assert refused["_status_extra"] == "You cannot edit a location that is archived"
    (sly,) = desk.put("/locations", {"id": place, "city": "Elko", "active": False})
    assert sly["_status_code"] == 417
    (found,) = desk.put("/locations", {"id": place, "city": "Elko", "active": 1})
    assert (found["active"], found["city"]) == (True, "Elko")


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": 1}, "That id is not found in the database"),
        ({"notes": "x"}, "Missing param: id"),
    ],
)
def test_an_update_needs_the_id_of_a_location(item: dict[str, object], words: str) -> None:
    (found,) = Desk().put("/locations", item)
    assert (found["_status_code"], found["_status_extra"]) == (417, words)


def test_the_last_part_of_an_address_cannot_be_taken_away() -> None:
    desk = Desk()
    (found,) = desk.put("/locations", {"id": desk.place(), "addr1": "", "city": ""})
    assert found["_status_code"] == 417


@pytest.mark.parametrize(("switch", "moved"), [(False, "12:00:00"), (True, "12:00:10")])
def test_an_update_without_a_change_leaves_the_location_alone_by_default(
    switch: bool, moved: str
) -> None:
    desk = Desk(not_modified_moves_last_modified=switch)
    place = desk.place()
    desk.account.advance(10)
    read_only = {"label": "x", "formatted_address": "y", "latitude": 0}
    desk.put("/locations", {"id": place, "city": "Reno", **read_only})
    assert moved in desk.location(place)["last_modified"]


@pytest.mark.parametrize(
    ("how", "asked", "found"),
    [
        ("honoured", "error,retry", ["Mill Road"]),
        ("honoured", "complete, error", ["Mill Road", "7 Any St"]),
        ("honoured", "", ["Mill Road", "7 Any St"]),
        ("ignored", "error", ["Mill Road", "7 Any St"]),
    ],
)
def test_locations_are_listed_by_their_status(how: str, asked: str, found: list[str]) -> None:
    desk = Desk(geocode_seconds=0, geocoding_filter=how)
    desk.post("/locations", {"addr1": "Mill Road"}, {"addr1": "7 Any St"})
    rows = desk.rows("locations", geocoding_status=asked)
    assert [row["addr1"] for row in rows] == found
