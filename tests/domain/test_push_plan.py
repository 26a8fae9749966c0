"""The one next step for each state of a job, and what is held after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cprqueue.domain import naming
from cprqueue.domain.models import Address, Desired, Jobcode, Location, Observed, Spare
from cprqueue.domain.push_plan import (
    Action,
    ChangeJobcode,
    ChangeLocation,
    CreateJobcode,
    CreateLocation,
    Done,
    DropLocation,
    Park,
    Verify,
    Wait,
    apply,
    differences,
    next_action,
    observe,
)
from cprqueue.domain.states import ErrorCode

HERE, THERE = Address("1 Elm St", "Apt 4", "Mesa", "AZ", "85201"), Address("2 Oak Ave")
WANTED = Desired(name="A-1", address=HERE)
RIGHT = Observed(
    jobcode_id=5,
    name="A-1",
    active=True,
    assigned_to_all=True,
    location_id=7,
    address=HERE,
    location_linked=True,
)
RESTORE = (("active", True), ("assigned_to_all", True))


def step(desired: Desired, observed: Observed, ruling: naming.Ruling | None = None) -> Action:
    return next_action(desired, observed, certain=True, ruling=ruling or naming.Free())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Done()),
        ({"jobcode_id": None}, CreateJobcode("A-1")),
        ({"name": "a-1"}, ChangeJobcode(5, (("name", "A-1"),))),
        ({"active": False}, ChangeJobcode(5, RESTORE)),
        ({"active": False, "assigned_to_all": False}, ChangeJobcode(5, RESTORE)),
        ({"active": False, "name": "B"}, ChangeJobcode(5, (("name", "A-1"), *RESTORE))),
        ({"assigned_to_all": False}, ChangeJobcode(5, (("assigned_to_all", True),))),
        ({"location_id": None, "location_linked": False}, CreateLocation(5, HERE)),
        ({"location_linked": False}, ChangeLocation(7, 5, HERE)),
        ({"address": THERE}, ChangeLocation(7, 5, HERE)),
        ({"spares": (Spare(8, (6,)), Spare(9))}, DropLocation(8, (6,))),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_the_next_step_mends_the_first_difference(change: dict[str, Any], expected: Action) -> None:
    assert step(WANTED, replace(RIGHT, **change)) == expected


def test_a_job_without_an_address_has_no_location() -> None:
    nowhere = replace(WANTED, address=Address())
    assert step(nowhere, RIGHT) == DropLocation(7)
    assert step(nowhere, replace(RIGHT, location_linked=False)) == Done()
    assert step(nowhere, replace(RIGHT, location_id=None, location_linked=False)) == Done()


def test_nothing_is_written_before_a_look_where_something_is_uncertain() -> None:
    too_long = Desired(name="x" * 65, address=HERE)
    for desired in (WANTED, too_long):
        action = next_action(desired, Observed(), certain=False, ruling=naming.Taken("other"))
        assert action == Verify()


@pytest.mark.parametrize(
    ("ruling", "expected"),
    [
        (
            naming.Taken("RM job 2 came first"),
            Park(ErrorCode.DOUBLED_NUMBER, "RM job 2 came first"),
        ),
        (naming.Blocked("RM job 2 has it"), Wait("RM job 2 has it")),
        (naming.Temporary("A-1 ~1"), ChangeJobcode(5, (("name", "A-1 ~1"),))),
        (naming.Aside(2, 6, "A-1 ~2"), ChangeJobcode(6, (("name", "A-1 ~2"), ("active", True)))),
    ],
)
def test_the_ruling_about_the_name_comes_before_the_jobcode(
    ruling: naming.Ruling, expected: Action
) -> None:
    assert step(WANTED, replace(RIGHT, name="B-2"), ruling) == expected


@pytest.mark.parametrize(("length", "over"), [(64, 0), (65, 1), (255, 191)])
def test_a_number_over_64_characters_is_parked(length: int, over: int) -> None:
    action = step(Desired(name="ä" * length, address=HERE), Observed())
    assert isinstance(action, Park) == bool(over)
    if isinstance(action, Park):
        assert action.code == "name_too_long"
        assert f"too long by {over}:" in action.reason


def test_payloads_carry_only_what_may_be_written() -> None:
    assert CreateJobcode("A-1").payload() == {"name": "A-1", "assigned_to_all": True}
    assert ChangeJobcode(5, RESTORE).payload() == {
        "id": 5,
        "active": True,
        "assigned_to_all": True,
    }
    link = {"linked_objects": {"jobcodes": [5]}}
    assert CreateLocation(5, THERE).payload() == {"addr1": "2 Oak Ave", **link}
    assert ChangeLocation(7, 5, THERE).payload() == {
        "id": 7,
        "active": True,
        "addr1": "2 Oak Ave",
        "addr2": "",
        "city": "",
        "state": "",
        "zip": "",
        **link,
    }
    assert DropLocation(7).payload() == {
        "id": 7,
        "linked_objects": {"jobcodes": []},
        "active": False,
    }
    assert DropLocation(7, (6,)).payload() == {"id": 7, "linked_objects": {"jobcodes": [6]}}


def test_no_step_says_an_address() -> None:
    for action in (CreateLocation(5, HERE), ChangeLocation(7, 5, HERE), DropLocation(7, (6,))):
        assert "Elm" not in str(action)


@pytest.mark.parametrize(
    ("observed", "action", "new_id", "expected"),
    [
        (Observed(name="A-1"), CreateJobcode("A-1"), 5, {"name": "A-1", "jobcode_id": 5}),
        (replace(RIGHT, name="B"), ChangeJobcode(5, (("name", "A-1"),)), 5, {"name": "A-1"}),
        (RIGHT, ChangeJobcode(6, (("name", "other"),)), 6, {"name": "A-1"}),
        (replace(RIGHT, location_id=None), CreateLocation(5, THERE), 8, {"location_id": 8}),
        (RIGHT, ChangeLocation(7, 5, THERE), 7, {"address": THERE, "location_linked": True}),
        (RIGHT, DropLocation(7), 7, {"location_id": 7, "location_linked": False}),
        (replace(RIGHT, spares=(Spare(8), Spare(9))), DropLocation(8), 8, {"spares": (Spare(9),)}),
        (RIGHT, Done(), None, {}),
    ],
)
def test_what_is_held_after_a_step(
    observed: Observed, action: Action, new_id: int | None, expected: dict[str, Any]
) -> None:
    after = apply(observed, action, new_id)
    assert {name: getattr(after, name) for name in expected} == expected


CODE = Jobcode(id=5, name="A-1", assigned_to_all=True)


def place(place_id: int, *links: int, address: Address = THERE, active: bool = True) -> Location:
    return Location(id=place_id, address=address, active=active, jobcode_ids=links)


@pytest.mark.parametrize(
    ("places", "ours", "chosen", "linked", "spares", "remark"),
    [
        ([], None, None, False, (), "none"),
        ([place(7, 5)], None, 7, True, (), "the only one"),
        ([place(7, 5), place(8, 5)], None, 7, True, (Spare(8),), "the oldest"),
        ([place(8, 5), place(7, 5)], None, 7, True, (Spare(8),), "order is nothing"),
        ([place(7, 5), place(8, 5)], 8, 8, True, (Spare(7),), "the one on record"),
        ([place(7, 5), place(8, 5, address=HERE)], None, 8, True, (Spare(7),), "the right one"),
        ([place(7, 5, 6)], 7, None, False, (Spare(7, (6,)),), "a shared one is not ours"),
        ([place(7, 5, 6), place(8, 5)], 7, 8, True, (Spare(7, (6,)),), "ours was shared out"),
        ([place(7)], 7, 7, False, (), "ours lost its link"),
        ([place(7, 6)], 7, None, False, (), "ours was given to another jobcode"),
        ([place(7, 5, active=False)], None, 7, False, (), "archived: it is restored"),
        ([place(7, 5, active=False), place(8, 5)], None, 8, True, (), "an active one is better"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_one_location_is_ours_and_the_others_are_spare(
    places: list[Location],
    ours: int | None,
    chosen: int | None,
    linked: bool,
    spares: tuple[Spare, ...],
    remark: str,
) -> None:
    observed = observe(CODE, places, ours=ours, address=HERE)
    assert (observed.location_id, observed.location_linked, observed.spares) == (
        chosen,
        linked,
        spares,
    ), remark


def test_differences_are_told_field_by_field() -> None:
    assert all(row.equal for row in differences(WANTED, RIGHT))
    observed = replace(RIGHT, name="B", active=False, address=THERE, spares=(Spare(8),))
    wrong = [row.field for row in differences(WANTED, observed) if not row.equal]
    address = ["addr1", "addr2", "city", "state", "zip"]
    assert wrong == ["name", "active", *address, "spare locations"]


def test_each_step_is_said_in_words_without_any_address() -> None:
    address = Address("1 Elm Street")
    assert str(Verify()) == "verify first"
    assert str(CreateJobcode("A-1")) == "create jobcode A-1"
    assert str(ChangeJobcode(5, (("name", "A-1"),))).startswith("change jobcode 5: name ")
    assert str(DropLocation(7)) == "unlink location 7"
    assert str(ChangeLocation(7, 5, address)) == "change the address of location 7"
