"""What a prune may take, what it holds back, and from which fetches it may be planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cprqueue.domain.models import Jobcode
from cprqueue.domain.prune_plan import (
    FetchFact,
    Limits,
    Managed,
    PrunePlan,
    common,
    plan_prune,
    why_not,
)
from cprqueue.domain.states import RunState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(fraction=0.2, minimum=2, maximum=50)


def planned(closed: int, *others: Jobcode, active_jobs: int = 1) -> PrunePlan:
    """Plan for five jobs, A-1 to A-5, of which the first ones are closed."""
    managed = [
        Managed(job_id=n, job_number=f"A-{n}", jobcode_id=n, job_active=n > closed, rule="closed")
        for n in range(1, 6)
    ]
    codes = [*(Jobcode(id=n, name=f"A-{n}") for n in range(1, 6)), *others]
    by_id = {code.id: code for code in codes}
    return plan_prune(managed, by_id, kept={}, in_use={}, active_jobs=active_jobs, limits=LIMITS)


def numbers(plan: PrunePlan) -> list[str]:
    return [leaving.job_number for leaving in plan.archive]


def test_as_many_as_the_limit_may_leave_and_not_one_more() -> None:
    assert planned(2).tripped is None
    said = "3 of 5 managed jobcodes would leave (60%), the limit is 2: A-1, A-2, A-3"
    assert planned(3).tripped == said


def test_without_any_active_job_nothing_may_leave() -> None:
    assert str(planned(1, active_jobs=0).tripped).startswith("no job at all is active")
    assert planned(0, active_jobs=0).tripped is None


def test_only_active_jobcodes_that_no_job_has_count_as_unmanaged() -> None:
    plan = planned(1, Jobcode(id=8, name="Shop"), Jobcode(id=9, name="Old", active=False))
    assert (plan.unmanaged, plan.managed_active) == (1, 5)


def test_an_active_child_at_any_depth_holds_its_parent_back_by_name() -> None:
    child = Jobcode(id=8, name="Phase 1", parent_id=1, active=False)
    plan = planned(2, child, Jobcode(id=9, name="Day 1", parent_id=8))
    assert numbers(plan) == ["A-2"]
    assert [(x.job_number, x.reason) for x in plan.held_back] == [
        ("A-1", "has an active child: Day 1")
    ]
    assert numbers(planned(2, child)) == ["A-1", "A-2"], "an archived child holds nobody"


def test_an_approval_takes_only_what_both_plans_hold() -> None:
    assert [leaving.job_number for leaving in common([1, 4], planned(2))] == ["A-1"]


def fact(run_id: int, jobs: int, *, state: RunState = RunState.DONE, hours: float = 1) -> FetchFact:
    at = NOON - timedelta(hours=hours)
    return FetchFact(run_id=run_id, state=state, observed_at=at, jobs=jobs, note="")


@pytest.mark.parametrize(
    ("jobs", "said"),
    [(90, None), (89, "the last complete fetch (run 3) has 89 jobs where one before had 100")],
)
def test_a_fetch_with_a_tenth_fewer_jobs_is_the_smallest_that_counts(
    jobs: int, said: str | None
) -> None:
    reason = why_not([fact(3, jobs), fact(2, 100), fact(1, 900, state=RunState.FAILED)], now=NOON)
    assert (reason is None) == (said is None)
    assert str(reason).startswith(said or "None")


def test_a_fetch_of_more_than_a_day_does_not_count() -> None:
    assert why_not([fact(3, 9, hours=24)], now=NOON) is None
    assert "older than 24 hours" in str(why_not([fact(3, 9, hours=24.1)], now=NOON))
