"""The brake on pushes: how many jobs one fetch may change or create."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprqueue.domain.models import Address, Desired, Observed
from cprqueue.domain.push_brake import (
    FREE_CREATIONS_BELOW,
    Effect,
    Managed,
    PushLimits,
    Tally,
    effect_of,
    tripped,
)

LIMITS = PushLimits(fraction=0.2, minimum=20)
HOME = Address("1 Main Street", "", "Boise", "ID", "83702")
DESIRED = Desired(name="A-1", address=HOME)
EQUAL = Observed(
    jobcode_id=1,
    name="A-1",
    active=True,
    assigned_to_all=True,
    location_id=2,
    address=HOME,
    location_linked=True,
)


@pytest.mark.parametrize(
    ("observed", "effect"),
    [
        (EQUAL, Effect.NOTHING),
        (Observed(), Effect.CREATE),
        (replace(EQUAL, name="A-2"), Effect.CHANGE),
        (replace(EQUAL, active=False), Effect.CHANGE),
        (replace(EQUAL, assigned_to_all=False), Effect.CHANGE),
        (replace(EQUAL, address=Address()), Effect.CHANGE),
        (replace(EQUAL, location_linked=False), Effect.CHANGE),
    ],
)
def test_what_a_push_would_write_is_counted(observed: Observed, effect: Effect) -> None:
    assert effect_of(DESIRED, observed) is effect


def test_an_address_that_is_to_be_emptied_is_a_change() -> None:
    assert effect_of(replace(DESIRED, address=Address()), EQUAL) is Effect.CHANGE


@pytest.mark.parametrize(
    ("tally", "managed", "held"),
    [
        (Tally(changes=20), 60, False),
        (Tally(changes=21), 60, True),
        (Tally(changes=300), 1500, False),
        (Tally(changes=301), 1500, True),
        (Tally(creates=1000), FREE_CREATIONS_BELOW - 1, False),
        (Tally(creates=21), FREE_CREATIONS_BELOW, True),
        (Tally(creates=20), FREE_CREATIONS_BELOW, False),
        (Tally(creates=300, changes=300), 1500, False),
    ],
)
def test_the_limit_is_a_share_of_the_managed_jobcodes(
    tally: Tally, managed: int, held: bool
) -> None:
    assert bool(tripped(tally, Managed(ever=managed, active=managed), LIMITS)) is held


def test_jobcodes_of_finished_jobs_raise_no_limit() -> None:
    many = Managed(ever=20_000, active=1500)
    assert tripped(Tally(changes=301), many, LIMITS).startswith("change 301 of 1500 jobcodes")
    assert tripped(Tally(creates=301), many, LIMITS).startswith("create 301 jobcodes beside 1500")
    assert tripped(Tally(creates=21), Managed(ever=60, active=0), LIMITS), "all were made inactive"


effects = st.lists(st.sampled_from(Effect), max_size=80)


@given(first=effects, second=effects)
def test_what_is_decided_in_parts_is_counted_as_a_whole(
    first: list[Effect], second: list[Effect]
) -> None:
    assert Tally().plus(first).plus(second) == Tally().plus(first + second)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 500))
def test_more_never_lets_a_held_fetch_go(creates: int, changes: int, active: int) -> None:
    managed = Managed(ever=active + 20, active=active)
    if tripped(Tally(creates=creates, changes=changes), managed, LIMITS):
        more = Tally(creates=creates + 1, changes=changes + 1)
        assert tripped(more, managed, LIMITS)
