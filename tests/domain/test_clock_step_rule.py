"""Steps of a clock are told from time that passes, whoever looks and however slowly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cprqueue.domain.clock_steps import DRIFT, SMALLEST_MS, Mark, Reading, step_since

MS = st.integers(0, 10**10)
SLOW = st.integers(0, 5000)


@given(start=MS, passed=MS, step=st.integers(-(10**9), 10**9), early=SLOW, late=SLOW, known=MS)
def test_what_is_found_is_the_step_or_a_little_more(
    start: int, passed: int, step: int, early: int, late: int, known: int
) -> None:
    mark = Mark(shown=start, before=0, after=0, moved=known)
    reading = Reading(
        shown=start + passed + step, before=max(0, passed - early), after=passed + late
    )
    found = step_since(mark, reading, known)
    unsure = early + late + SMALLEST_MS + reading.after // DRIFT
    if found == 0:
        assert abs(step) <= unsure
    else:
        assert step <= found <= step + early, "never less: nothing is free too early"
    once_recorded = step_since(mark, reading, known + found)
    assert once_recorded == 0, "what is on record is not counted again"


@given(passed=MS, others=st.integers(-(10**9), 10**9))
def test_a_step_that_only_others_saw_is_none_here(passed: int, others: int) -> None:
    mark = Mark(shown=5, before=0, after=0, moved=0)
    reading = Reading(shown=5 + passed, before=passed, after=passed)
    assert step_since(mark, reading, others) == 0
