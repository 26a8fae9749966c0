"""Every active job is exactly one jobcode with exactly one location, through every change."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.services.reports.overview import make_due
from tests.office import Office, job


def codes(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.sandbox.qbt.state()["jobcodes"]
    return found


def places(office: Office, *, active: bool = True) -> list[dict[str, Any]]:
    found = office.sandbox.qbt.state()["locations"]
    return [place for place in found if place["active"] == active]


def in_step(office: Office, *unmanaged: str) -> None:
    assert office.broken(*unmanaged) == []
    counts = office.counts()
    assert (counts["due"], counts["parked"]) == (0, 0), counts


def test_new_jobs_become_jobcodes_with_locations_in_two_calls_for_fifty(office: Office) -> None:
    office.put(*(job(n, f"BMS-25-{n:05d}M") for n in range(1, 51)))
    in_step(office)
    assert office.writes() == [("POST", "/jobcodes", 50), ("POST", "/locations", 50)]


def test_a_second_push_of_unchanged_jobs_sends_nothing(office: Office) -> None:
    office.put(job(1, "A-1"))
    before = len(office.sandbox.calls)
    office.fetch()
    office.push()
    assert [c for c in office.sandbox.calls[before:] if c.service == "qbt"] == []


def test_a_changed_number_renames_the_jobcode(office: Office) -> None:
    office.put(job(1, "A-1"))
    (first,) = codes(office)
    office.put(job(1, "A-2"))
    assert [(c["id"], c["name"]) for c in codes(office)] == [(first["id"], "A-2")]
    in_step(office)


def test_a_changed_address_changes_the_same_location(office: Office) -> None:
    office.put(job(1, "A-1"))
    (first,) = places(office)
    office.put(job(1, "A-1", jobAddress1="9 Elm Street", jobAddress2="Unit 2"))
    (second,) = places(office)
    assert (second["id"], second["addr1"], second["addr2"]) == (
        first["id"],
        "9 Elm Street",
        "Unit 2",
    )
    in_step(office)


def test_a_removed_address_leaves_no_location_and_a_new_one_brings_it_back(office: Office) -> None:
    nowhere = dict.fromkeys(("jobAddress1", "jobCity", "jobStateCd", "jobZip"), "")
    office.put(job(1, "A-1"))
    (first,) = places(office)
    office.put(job(1, "A-1", **nowhere))
    assert places(office) == []
    in_step(office)
    office.put(job(1, "A-1", jobAddress1="9 Elm Street"))
    assert [place["id"] for place in places(office)] == [first["id"]]
    in_step(office)


def test_a_closed_job_is_left_alone_and_a_reopened_one_comes_back(office: Office) -> None:
    office.put(job(1, "A-1"))
    (code,) = codes(office)
    office.put(job(1, "A-1", jobProgress="Lost Lead"))
    assert codes(office)[0]["active"]
    office.sandbox.qbt.change_jobcode(code["id"], active=False)
    office.put(job(1, "A-1"))
    assert [c["id"] for c in codes(office)] == [code["id"]]
    in_step(office)


def test_two_jobs_swap_their_numbers(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    by_name = {c["name"]: c["id"] for c in codes(office)}
    office.put(job(1, "A-2"), job(2, "A-1"))
    assert {c["name"]: c["id"] for c in codes(office)} == {
        "A-1": by_name["A-2"],
        "A-2": by_name["A-1"],
    }
    in_step(office)


def test_three_jobs_hand_their_numbers_round(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"), job(3, "A-3"))
    office.put(job(1, "A-2"), job(2, "A-3"), job(3, "A-1"))
    assert len(codes(office)) == 3
    in_step(office)


def test_a_number_freed_by_one_job_is_taken_by_another(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.put(job(1, "A-9"), job(2, "A-1"))
    assert len(codes(office)) == 2
    in_step(office)


def test_a_new_job_takes_over_the_jobcode_of_a_closed_one_with_its_number(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.put(job(1, "A-1", jobProgress="Lost Lead"))
    office.put(job(2, "A-1"))
    assert len(codes(office)) == 1
    in_step(office)


def test_a_job_renamed_to_a_closed_jobs_number_moves_that_jobcode_aside(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.put(job(1, "A-1", jobProgress="Lost Lead"))
    office.put(job(2, "A-1"))
    assert sorted(c["name"] for c in codes(office)) == ["A-1", "A-1 ~1"]
    in_step(office, "A-1 ~1")


def test_the_second_of_two_jobs_with_one_number_is_parked_and_says_whose_it_is(
    office: Office,
) -> None:
    office.put(job(1, "A-1"), job(2, "a-1 "))
    assert len(codes(office)) == 1
    link = office.link(2)
    assert (link.state, link.error_code) == ("parked", "doubled_number")
    assert "RM job 1 (A-1)" in link.error_reason


def test_a_parked_job_comes_back_by_itself_when_the_number_is_free(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-1"))
    office.put(job(1, "A-7"))
    assert len(codes(office)) == 2
    in_step(office)


def test_a_number_that_is_too_long_is_parked_until_it_fits(office: Office) -> None:
    office.put(job(1, "X" * 65))
    assert office.link(1).error_reason == "job number is too long by 1: QuickBooks Time takes 64"
    office.put(job(1, "X" * 64))
    in_step(office)


@pytest.mark.parametrize("active", [True, False], ids=["active", "archived"])
@pytest.mark.parametrize("name", ["A-1 x", "a-1  X", " A-1 X "])
def test_a_jobcode_that_was_there_before_is_adopted(
    office: Office, name: str, active: bool
) -> None:
    there = office.sandbox.qbt.add_jobcode(name=name)
    if not active:
        office.sandbox.qbt.change_jobcode(there, active=False)
    office.put(job(1, "A-1 X"))
    assert [c["id"] for c in codes(office)] == [there]
    in_step(office)


@pytest.mark.parametrize("behaviour", ["accepted", "twin", "refused"])
def test_an_archived_namesake_made_after_the_export_ends_right(
    office: Office, behaviour: str
) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.switches.update({"archived_namesake": behaviour})
    there = office.sandbox.qbt.add_jobcode(name="A-2")
    office.sandbox.qbt.change_jobcode(there, active=False)
    office.put(job(2, "A-2"))
    active = [c for c in codes(office) if c["active"]]
    assert sorted(c["name"] for c in active) == ["A-1", "A-2"]
    assert all(c["assigned_to_all"] for c in active)
    assert office.counts()["in_sync"] == 2


def test_a_jobcode_made_by_hand_after_the_export_is_found_and_adopted(office: Office) -> None:
    office.put(job(1, "A-1"))
    there = office.sandbox.qbt.add_jobcode(name="a-2")
    office.put(job(2, "A-2"))
    assert there in [c["id"] for c in codes(office)]
    in_step(office)


def test_locations_that_an_address_change_doubled_in_the_past_become_one(office: Office) -> None:
    code = office.sandbox.qbt.add_jobcode(name="A-1")
    for street in ("1 Main Street", "2 Old Street", "3 Older Street"):
        office.sandbox.qbt.add_location(addr1=street, linked_objects={"jobcodes": [code]})
    office.put(job(1, "A-1"))
    assert len(places(office)) == 1
    in_step(office)


def test_a_location_that_other_jobcodes_share_only_loses_our_link(office: Office) -> None:
    ours = office.sandbox.qbt.add_jobcode(name="A-1")
    other = office.sandbox.qbt.add_jobcode(name="Warehouse")
    shared = office.sandbox.qbt.add_location(
        addr1="5 Yard Road", linked_objects={"jobcodes": [ours, other]}
    )
    office.put(job(1, "A-1"))
    in_step(office, "Warehouse")
    (place,) = [p for p in places(office) if p["id"] == shared]
    assert place["linked_objects"] == {"jobcodes": [other]}


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "Something else"},
        {"active": False},
        {"assigned_to_all": False},
    ],
    ids=["renamed", "archived", "unassigned"],
)
def test_what_was_done_to_a_jobcode_by_hand_is_put_right_by_a_resync(
    office: Office, damage: dict[str, Any]
) -> None:
    office.put(job(1, "A-1"))
    (code,) = codes(office)
    office.sandbox.qbt.change_jobcode(code["id"], **damage)
    (report,) = office.app.resync.run("A-1", None)
    assert report.ok, report.steps
    assert [c["id"] for c in codes(office)] == [code["id"]]
    in_step(office)


def test_a_location_edited_by_hand_is_put_right_by_a_resync(office: Office) -> None:
    office.put(job(1, "A-1"))
    (place,) = places(office)
    office.sandbox.qbt.change_location(place["id"], addr1="Elsewhere")
    (report,) = office.app.resync.run("A-1", None)
    assert [row.field for row in report.fields if not row.equal] == ["addr1"]
    assert [step.step for step in report.steps] == [
        "found in RestorationManager",
        "rule",
        "recorded",
        "compared",
        "done",
    ]
    in_step(office)


def test_a_rename_of_a_jobcode_archived_by_hand_restores_it(office: Office) -> None:
    office.put(job(1, "A-1"))
    (code,) = codes(office)
    office.sandbox.qbt.change_jobcode(code["id"], active=False)
    office.put(job(1, "A-2"))
    assert [c["id"] for c in codes(office)] == [code["id"]]
    in_step(office)


def test_a_rename_onto_an_unmanaged_jobcode_is_parked_with_the_services_own_words(
    office: Office,
) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.add_jobcode(name="Shop")
    office.put(job(1, "Shop"))
    link = office.link(1)
    assert link.state == "parked"
    assert "conflicts with another item" in link.error_reason


def test_the_old_number_of_a_job_whose_new_one_was_refused_is_free_for_another(
    office: Office,
) -> None:
    office.put(job(1, "TBD-1"))
    (first,) = codes(office)
    by_hand = office.sandbox.qbt.add_jobcode(name="BMS-1")
    office.put(job(1, "BMS-1"))
    office.put(job(2, "TBD-1"))
    assert (office.link(1).state, office.link(2).state) == ("parked", "in_sync")
    assert {c["id"]: c["name"] for c in codes(office)}[first["id"]] == "TBD-1 ~1"
    office.sandbox.qbt.change_jobcode(by_hand, name="BMS-1 by hand")
    make_due(office.app.db, [1])
    office.push()
    assert {c["id"]: c["name"] for c in codes(office)}[first["id"]] == "BMS-1"
    in_step(office, "BMS-1 by hand")


def test_four_changed_jobs_cost_at_most_four_calls(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    before = len(office.writes())
    office.sandbox.rm.put_jobs(
        [
            job(99, "A-99"),
            job(1, "B-1"),
            job(2, "A-2", jobAddress1="7 New Street"),
            job(3, "A-3", jobProgress="Lost Lead"),
        ]
    )
    office.fetch()
    office.sandbox.client.reset_calls()
    office.push()
    assert sum(1 for c in office.sandbox.calls if c.service == "qbt") <= 4
    assert before
    in_step(office)
