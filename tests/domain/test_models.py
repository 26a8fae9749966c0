"""The values keep what they hold on their way through the database, and say it in words."""

from __future__ import annotations

import pytest

from cprqueue.domain.models import Address, Desired, ItemResult, Observed, Spare

HELD = Observed(
    jobcode_id=5, name="Ä-1", active=True, location_id=7, address=Address("1 Elm"),
    location_linked=True, spares=(Spare(8, (6, 9)), Spare(10)),
)  # fmt: skip


def test_what_is_held_comes_back_from_the_database_as_it_was() -> None:
    assert Observed.from_json(HELD.to_json()) == HELD
    assert Observed.from_json("") == Observed.from_json(None) == Observed()
    assert Observed.from_json('{"name": "A-1", "of a newer version": 1}') == Observed(name="A-1")


def test_who_leaves_a_shared_location_is_taken_out_of_that_one_alone() -> None:
    assert HELD.without_sharer(8, 6).spares == (Spare(8, (9,)), Spare(10))
    assert HELD.without_sharer(10, 6) == HELD
    assert HELD.without_sharer(8, 4711) == HELD


def test_what_is_desired_has_another_digest_when_any_part_of_it_changes() -> None:
    one = Desired(name="A-1", address=Address("1 Elm"))
    assert one.digest() == Desired(name="A-1", address=Address("1 Elm")).digest()
    others = {one.digest(), Desired(name="A-2", address=Address("1 Elm")).digest()}
    others.add(Desired(name="A-1", address=Address("2 Elm")).digest())
    assert len(others) == 3


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (ItemResult(code=417, message="Expectation Failed", extra="Oops!"), "Oops!"),
        (ItemResult(code=417, message="Expectation Failed"), "Expectation Failed"),
        (ItemResult(code=417), "code 417"),
    ],
)
def test_an_outcome_is_said_in_the_services_own_words(result: ItemResult, text: str) -> None:
    assert (result.text, result.done, result.exists) == (text, False, False)


def test_an_address_is_there_where_any_part_of_it_is() -> None:
    assert not Address()
    assert all((Address("x"), Address(addr2="x"), Address(city="x"), Address(zip="x")))
