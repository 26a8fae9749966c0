"""Who may bear a number, when several jobs touch it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cprqueue.domain.models import NAME_LIMIT, name_key
from cprqueue.domain.naming import (
    Aside,
    Blocked,
    Claimant,
    Free,
    Taken,
    TakeOver,
    Temporary,
    beside,
    rule,
)


def job(job_id: int, wants: str = "", holds: str = "", **more: Any) -> Claimant:
    given = {"jobcode_id": 100 + job_id if holds else None, "seniority": (1, job_id), **more}
    return Claimant(
        job_id=job_id, label=f"RM job {job_id}", desired_key=wants, observed_key=holds, **given
    )


@pytest.mark.parametrize(
    ("me", "others", "kind", "remark"),
    [
        (job(1, "a"), [], Free, "nobody else"),
        (job(1, "a", "a"), [], Free, "it is ours"),
        (job(1, "a", "b"), [job(2, "c", "c")], Free, "others have others"),
        (job(1, "a"), [job(2, "a")], Free, "we came first"),
        (job(2, "a"), [job(1, "a")], Taken, "the other came first"),
        (job(1, "a"), [job(2, "a", "a")], Taken, "the other bears it already"),
        (job(2, "a", "a"), [job(1, "a")], Free, "we bear it already"),
        (job(1, "a"), [job(2, "a", creating=True)], Blocked, "the other may be making it"),
        (job(1, "a", creating=True), [job(2, "a", creating=True)], Free, "both may: the first"),
        (job(1, "a"), [job(2, "", "a")], TakeOver, "an inactive job has the jobcode"),
        (job(1, "a", "b"), [job(2, "", "a")], Aside, "an inactive job bears the name"),
        (job(1, "a", "b"), [job(2, "c", "a")], Blocked, "it is handed on"),
        (job(1, "a", "b"), [job(2, "b", "a")], Temporary, "a swap: the lowest id steps aside"),
        (job(2, "a", "b"), [job(1, "b", "a")], Blocked, "a swap: the other waits"),
        (job(1, "a", "c"), [job(2, "b", "a"), job(3, "c", "b")], Temporary, "a ring of three"),
        (job(1, "a", "b"), [job(2, "c", "a"), job(3, "c", "c")], Aside, "its number is taken"),
        (job(1, "a"), [job(2, "c", "a", parked=True)], Aside, "its number was refused"),
        (job(2, "a"), [job(1, "a", "a", parked=True)], Taken, "it bears its own, and is parked"),
        (job(1, "a", "b"), [job(2, "b", "a", parked=True)], Aside, "a swap with a parked one"),
        (job(2, "a", "b"), [job(1, "b", "a", parked=True)], Aside, "and whoever has the lower id"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_the_ruling(me: Claimant, others: list[Claimant], kind: type, remark: str) -> None:
    assert isinstance(rule(me, "A", [me, *others]), kind), remark
    assert rule(me, "A", [*reversed(others), me]) == rule(me, "A", others), "order is nothing"


keys = st.sampled_from(["", "a", "b", "c", "d"])


@st.composite
def crowds(draw: st.DrawFn) -> list[Claimant]:
    observed = draw(st.permutations(["a", "b", "c", "d", "", "", ""]))
    crowd = []
    for n in range(draw(st.integers(1, 5))):
        creating = draw(st.booleans()) and not observed[n]
        parked = draw(st.booleans()) and not creating
        crowd.append(job(n, draw(keys), observed[n], creating=creating, parked=parked))
    return crowd


@settings(derandomize=True, max_examples=500)
@given(crowds())
def test_at_most_one_job_may_go_for_a_name_and_somebody_always_moves(crowd: list[Claimant]) -> None:
    going: dict[str, int] = {}
    rulings = [(me, rule(me, me.desired_key, crowd)) for me in crowd if me.desired_key]
    for me, ruling in rulings:
        if isinstance(ruling, Free | TakeOver | Aside | Temporary):
            assert going.setdefault(me.desired_key, me.job_id) == me.job_id
    unsettled = [
        (me, r) for me, r in rulings if me.observed_key != me.desired_key and not me.parked
    ]
    stuck = all(isinstance(r, Blocked) for _, r in unsettled)
    assert not (unsettled and stuck), "not everybody waits for somebody"


@settings(derandomize=True)
@given(st.text(min_size=1, max_size=NAME_LIMIT), st.integers(1, 2**62))
def test_a_name_beside_fits_and_is_another_one(name: str, job_id: int) -> None:
    found = beside(name, job_id)
    assert len(found) <= NAME_LIMIT
    assert name_key(found) != name_key(name) or name.endswith(f"~{job_id}")
    assert found != beside(name, job_id + 1)


def test_a_name_that_makes_way_keeps_within_the_limit_and_ends_in_its_mark() -> None:
    assert beside("A-1", 4711) == "A-1 ~4711"
    long = beside("x" * NAME_LIMIT, 4711)
    assert (len(long), long[-7:]) == (NAME_LIMIT, "x ~4711")
