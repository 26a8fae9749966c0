"""What keeps a jobcode from a prune: a person's word, and hours; how long a word lasts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprqueue.domain.keeps import LONGEST_REASON, Keep, end_of_day, reason
from cprqueue.domain.models import Jobcode
from cprqueue.domain.prune_plan import Limits, Managed, PrunePlan, plan_prune
from cprqueue.errors import UsageError

NUMBERS = range(1, 9)
LIMITS = Limits(fraction=0.5, minimum=2, maximum=3)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[list[Managed], dict[int, Jobcode]]:
    """Eight jobcodes in any family, some archived, some of a job, some of these finished."""
    codes = {
        n: Jobcode(
            id=n,
            name=f"A-{n}",
            parent_id=draw(st.sampled_from([0, 0, *range(1, n)])),
            active=draw(st.booleans()) or draw(st.booleans()),
        )
        for n in NUMBERS
    }
    managed = [
        Managed(
            job_id=100 + n,
            job_number=f"A-{n}",
            jobcode_id=n,
            job_active=draw(st.booleans()) and draw(st.booleans()),
            rule="closed",
        )
        for n in NUMBERS
        if draw(st.booleans()) or draw(st.booleans())
    ]
    return managed, codes


def plan(
    managed: list[Managed],
    codes: dict[int, Jobcode],
    kept: Mapping[int, str],
    in_use: Mapping[int, str],
) -> PrunePlan:
    return plan_prune(managed, codes, kept=kept, in_use=in_use, active_jobs=1, limits=LIMITS)


def ids(rows: object) -> set[int]:
    return {row.jobcode_id for row in rows}  # type: ignore[attr-defined]


@given(accounts(), st.sets(st.sampled_from(NUMBERS)), st.sets(st.sampled_from(NUMBERS)))
def test_what_is_kept_or_in_use_stays_and_so_does_whatever_would_take_it_along(
    account: tuple[list[Managed], dict[int, Jobcode]], keep: set[int], use: set[int]
) -> None:
    managed, codes = account
    kept, in_use = {100 + n: f"kept {n}" for n in keep}, {n: f"used {n}" for n in use}
    plain, made = plan(managed, codes, {}, {}), plan(managed, codes, kept, in_use)
    leaving, said = ids(made.archive), {row.jobcode_id: row.reason for row in made.held_back}
    finished = ids(plain.archive) | ids(plain.held_back)
    assert leaving | said.keys() == finished
    assert not leaving & (said.keys() | keep | use)
    assert leaving <= ids(plain.archive), "a fact never lets more leave"
    assert all(said[n] == f"kept {n}" for n in keep & finished)
    for code in codes.values():
        parent, below = code.parent_id, code.active and code.id not in leaving
        while below and parent:
            assert parent not in leaving, "its child would leave with it"
            parent = codes[parent].parent_id
    without_use = plan(managed, codes, kept, {})
    assert (made.tripped is None) == (len(without_use.archive) <= made.limit)


def keep_of(until: datetime | None, because: str = "") -> Keep:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return Keep(job_id=1, requested_by="Ànna", kept_at=now, until=until, because=because)


EVENING = datetime(2026, 3, 2, 3, 30, tzinfo=UTC)  # the first of March in Denver still


@pytest.mark.parametrize("zone", ["America/Denver", "UTC", "Pacific/Auckland"])
def test_the_last_day_is_kept_to_its_end_where_the_customer_is(zone: str) -> None:
    end = end_of_day("2026-03-08", zone, now=EVENING)  # the day on which summer begins there
    keep = keep_of(end, "warranty")
    assert keep.text(zone) == "kept by Ànna until 2026-03-08: warranty"
    hours = (end - end_of_day("2026-03-07", zone, now=EVENING)) / timedelta(hours=1)
    assert hours == (23 if zone == "America/Denver" else 24)


def test_today_can_be_the_last_day_and_yesterday_cannot() -> None:
    end = end_of_day("2026-03-01", "America/Denver", now=EVENING)
    assert end == datetime(2026, 3, 2, 7, tzinfo=UTC)
    with pytest.raises(UsageError, match="--until is 2026-03-01, which is over"):
        end_of_day("2026-03-01", "UTC", now=EVENING)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-02-30", "20270131", "31.1.2027", "9999-12-31", "2027-01-3١"]
)
def test_what_is_no_day_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="write a day like 2027-01-31"):
        end_of_day(text, "UTC", now=EVENING)


def test_a_reason_is_one_line_of_some_length() -> None:
    assert keep_of(None).text("UTC") == "kept by Ànna until further notice"
    assert reason(" call\n first ") == "call first"
    with pytest.raises(UsageError, match=r"301 characters: write 300 at most"):
        reason("x" * (LONGEST_REASON + 1))
