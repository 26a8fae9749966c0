"""Archiving and restoring jobcodes, and who is assigned to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.quickbooks_time_desk import Desk, extra


def user_zero(desk: Desk, job: int) -> list[bool]:
    """Return whether each row that assigns everybody to the job is active."""
    rows = desk.rows("jobcode_assignments", jobcode_id=job)
    return [row["active"] for row in rows if row["user_id"] == 0]


def archived_family(**switches: Any) -> tuple[Desk, int, int]:
    desk = Desk(**switches)
    top = desk.job("Top", assigned_to_all=True)
    child = desk.job("Child", parent_id=top, assigned_to_all=True)
    desk.account.advance(60)
    desk.put("/jobcodes", {"id": top, "active": False})
    return desk, top, child


def test_archiving_takes_the_children_and_the_assignments_along() -> None:
    desk, top, child = archived_family()
    for job in (top, child):
        row = desk.jobcode(job)
        assert (row["active"], row["assigned_to_all"]) == (False, False)
        assert row["last_modified"] == "2026-01-05T12:01:00+00:00"
        assert user_zero(desk, job) == [False]
    assert desk.jobcode(top)["has_children"] is False


def test_assigned_to_all_can_survive_archiving() -> None:
    desk, top, _ = archived_family(archive_keeps_assigned_to_all=True)
    assert desk.jobcode(top)["assigned_to_all"] is True
    assert user_zero(desk, top) == [True]


def test_archived_children_can_count_as_children() -> None:
    desk, top, _ = archived_family(has_children_counts_archived=True)
    assert desk.jobcode(top)["has_children"] is True


def test_nothing_goes_below_an_archived_parent() -> None:
    desk, top, _ = archived_family()
    assert "archived" in extra(desk.post("/jobcodes", {"name": "A", "parent_id": top})[0])


def test_restoring_brings_back_the_parents_but_no_children_and_no_assignments() -> None:
    desk, top, child = archived_family()
    desk.put("/jobcodes", {"id": top, "active": True})
    assert [desk.jobcode(job)["active"] for job in (top, child)] == [True, False]
    desk.put("/jobcodes", {"id": top, "active": False})
    desk.put("/jobcodes", {"id": child, "active": "yes"})
    assert [desk.jobcode(job)["active"] for job in (top, child)] == [True, True]
    assert user_zero(desk, child) == [False]


def test_of_two_archived_namesakes_either_can_be_restored_but_not_both() -> None:
    desk = Desk()
    first = desk.job("BMS-1")
    desk.put("/jobcodes", {"id": first, "active": False})
    second = desk.account.add_jobcode(name="BMS-1")
    desk.put("/jobcodes", {"id": second, "active": False})
    found = desk.put("/jobcodes", {"id": first, "active": 1}, {"id": second, "active": 1})
    assert [item["_status_code"] for item in found] == [200, 417]


@pytest.mark.parametrize(("choice", "code"), [("accepted", 417), ("refused", 417), ("twin", 200)])
def test_a_rename_onto_an_archived_name_is_refused_unless_twins_may_be(
    choice: str, code: int
) -> None:
    desk = Desk(archived_namesake=choice)
    desk.put("/jobcodes", {"id": desk.job("Gone"), "active": False})
    (found,) = desk.put("/jobcodes", {"id": desk.job("A"), "name": "gone"})
    assert found["_status_code"] == code


def test_a_restored_child_whose_parents_name_is_taken_stays_archived() -> None:
    desk, top, child = archived_family()
    desk.account.add_jobcode(name="Top")
    assert "conflicts" in extra(desk.put("/jobcodes", {"id": child, "active": True})[0])
    assert [desk.jobcode(job)["active"] for job in (top, child)] == [False, False]


def test_a_restore_may_rename_and_assign_in_the_same_step() -> None:
    desk, top, _ = archived_family()
    item = {"id": top, "active": 1, "name": "New", "assigned_to_all": True}
    (found,) = desk.put("/jobcodes", item)
    assert (found["active"], found["name"], found["assigned_to_all"]) == (True, "New", True)
    assert user_zero(desk, top) == [True]


def test_an_archived_jobcode_cannot_be_edited_but_can_be_archived_again() -> None:
    desk, top, _ = archived_family()
    refused, again = desk.put("/jobcodes", {"id": top, "name": "New"}, {"id": top, "active": False})
    assert extra(refused) == "You cannot edit a jobcode that is archived"
    assert again["_status_code"] == 200
    desk.account.switches.update({"archived_edit_accepted": True})
    assert desk.put("/jobcodes", {"id": top, "name": "New"})[0]["name"] == "New"


@pytest.mark.parametrize(
    "item",
    [{"name": "Top"}, {"name": "New", "active": False}, {"billable": True}, {}],
    ids=["same name", "new name while archived again", "other property", "nothing"],
)
def test_whatever_else_is_sent_for_an_archived_jobcode_is_refused(item: dict[str, object]) -> None:
    desk, top, _ = archived_family()
    assert extra(desk.put("/jobcodes", {"id": top, **item})[0]).endswith("archived")


@pytest.mark.parametrize(("drops", "left"), [(False, 1), (True, 0)])
def test_locations_keep_their_links_to_an_archived_jobcode_by_default(
    drops: bool, left: int
) -> None:
    desk = Desk(archive_drops_links=drops)
    job = desk.job()
    place = desk.place(linked_objects={"jobcodes": [job]})
    desk.put("/jobcodes", {"id": job, "active": False})
    assert len(desk.jobcode(job)["locations"]) == left
    assert len(desk.location(place)["linked_objects"].get("jobcodes", [])) == left


# Assignments


def test_assigned_to_all_is_an_assignment_of_user_0() -> None:
    desk = Desk()
    job = desk.job(assigned_to_all=True)
    desk.account.advance(60)
    desk.put("/jobcodes", {"id": job, "assigned_to_all": "no"})
    (row,) = desk.rows("jobcode_assignments")
    assert (row["user_id"], row["active"]) == (0, False)
    assert row["last_modified"] == "2026-01-05T12:01:00+00:00"
    desk.post("/jobcode_assignments", {"user_id": 0, "jobcode_id": job})
    assert desk.jobcode(job)["assigned_to_all"] is True


def test_assigning_a_parent_assigns_its_children() -> None:
    desk = Desk()
    top = desk.job("Top")
    child = desk.job("Child", parent_id=top)
    item = {"user_id": desk.account.user_id, "jobcode_id": top}
    first, again = desk.post("/jobcode_assignments", item, item)
    assert first["id"] == again["id"]
    assert {row["jobcode_id"] for row in desk.rows("jobcode_assignments")} == {top, child}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"jobcode_id": 1}, "Missing param: user_id"),
        ({"user_id": 0}, "Missing param: jobcode_id"),
        ({"user_id": 0, "jobcode_id": 1}, "does not exist"),
        ({"user_id": 1, "jobcode_id": 1}, "Oops! You don't have permission to manage that user"),
    ],
)
def test_an_assignment_that_breaks_a_rule_is_refused(item: dict[str, int], words: str) -> None:
    assert words in extra(Desk().post("/jobcode_assignments", item)[0])


def test_assignments_need_the_right_to_manage_users() -> None:
    desk = Desk()
    job = desk.job(assigned_to_all=True)
    desk.account.switches.update({"admin": False, "manage_jobcodes": True})
    (found,) = desk.post("/jobcode_assignments", {"user_id": 0, "jobcode_id": job})
    assert "permission to manage that user" in extra(found)


def staffed() -> tuple[Desk, dict[str, int]]:
    desk = Desk()
    ids = {"me": desk.account.user_id, "bo": desk.account.add_user(first_name="Bo")}
    for name in ("all", "mine", "bos", "gone"):
        ids[name] = desk.job(name, assigned_to_all=name in ("all", "gone"))
    desk.post("/jobcode_assignments", {"user_id": ids["me"], "jobcode_id": ids["mine"]})
    desk.post("/jobcode_assignments", {"user_id": ids["bo"], "jobcode_id": ids["bos"]})
    desk.put("/jobcodes", {"id": ids["gone"], "active": False})
    return desk, ids


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ({}, {"all", "mine", "bos", "gone"}),
        ({"active": "yes"}, {"all", "mine", "bos"}),
        ({"active": "no"}, {"gone"}),
        ({"jobcode_id": "mine"}, {"mine"}),
        ({"type": "pto"}, set()),
    ],
)
def test_assignments_are_filtered(query: dict[str, str], jobs: set[str]) -> None:
    desk, ids = staffed()
    real = {key: str(ids.get(value, value)) for key, value in query.items()}
    rows = desk.rows("jobcode_assignments", **real)
    assert {row["jobcode_id"] for row in rows} == {ids[job] for job in jobs}
