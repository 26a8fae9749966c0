"""Pure: what a prune would archive, what it holds back, and the brake that refuses too much."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cprqueue.domain.models import Jobcode
from cprqueue.domain.states import RunState

FRESH = timedelta(hours=24)
"""A fetch or an export older than this decides nothing."""

SMALLEST_SHARE = 0.9
"""A complete fetch with fewer jobs than this share of those before it is suspicious."""

NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """A jobcode that is linked to a job."""

    job_id: int
    job_number: str
    jobcode_id: int
    job_active: bool
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Leaving:
    """One jobcode that a plan would archive, and why. Ordered by job number."""

    job_number: str
    job_id: int
    jobcode_id: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What a prune would do. ``tripped``: why the brake refuses it, or None."""

    archive: tuple[Leaving, ...]
    held_back: tuple[Leaving, ...]
    unmanaged: int
    managed_active: int
    limit: int
    tripped: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The brake: a share of the managed active jobcodes, never below or above two numbers."""

    fraction: float
    minimum: int
    maximum: int

    def limit(self, managed_active: int) -> int:
        """Return how many jobcodes may leave at once."""
        return min(max(int(managed_active * self.fraction), self.minimum), self.maximum)


def plan_prune(
    managed: Iterable[Managed],
    jobcodes: Mapping[int, Jobcode],
    *,
    active_jobs: int,
    limits: Limits,
) -> PrunePlan:
    """Plan from the links and an export (``jobcodes`` by id): archive what is finished.

    Only managed, regular jobcodes that are active in the export and whose job is inactive.
    One with an active child that is not itself in the plan is held back. Sorted, so that two
    plans from the same facts are equal.
    """
    links = [m for m in managed if _is_active(jobcodes.get(m.jobcode_id))]
    finished = {m.jobcode_id: m for m in links if not m.job_active}
    busy = parents_of_others(finished, jobcodes)
    archive, held_back = [], []
    for jobcode_id, link in finished.items():
        leaving = Leaving(
            job_number=link.job_number,
            job_id=link.job_id,
            jobcode_id=jobcode_id,
            name=jobcodes[jobcode_id].name,
            reason=link.rule,
        )
        if jobcode_id in busy:
            held_back.append(replace(leaving, reason=f"has an active child: {busy[jobcode_id]}"))
        else:
            archive.append(leaving)
    managed_ids = {m.jobcode_id for m in links}
    limit = limits.limit(len(links))
    return PrunePlan(
        archive=tuple(sorted(archive)),
        held_back=tuple(sorted(held_back)),
        unmanaged=sum(c.active and c.id not in managed_ids for c in jobcodes.values()),
        managed_active=len(links),
        limit=limit,
        tripped=_tripped(sorted(archive), len(links), limit, active_jobs),
    )


def _is_active(jobcode: Jobcode | None) -> bool:
    return jobcode is not None and jobcode.active and jobcode.type == "regular"


def parents_of_others(chosen: Container[int], jobcodes: Mapping[int, Jobcode]) -> dict[int, str]:
    """Return which chosen jobcodes have an active child, at any depth, that is not chosen.

    Archiving them would archive that child too. The value is the child's name.
    """
    busy: dict[int, str] = {}
    for code in jobcodes.values():
        if not code.active or code.id in chosen:
            continue
        parent, seen = code.parent_id, {code.id}
        while parent and parent not in seen:
            if parent in chosen:
                busy.setdefault(parent, code.name)
            seen.add(parent)
            parent = jobcodes[parent].parent_id if parent in jobcodes else 0
    return busy


def _tripped(archive: list[Leaving], managed: int, limit: int, active_jobs: int) -> str | None:
    if archive and not active_jobs:
        return "no job at all is active in RestorationManager: this is probably a wrong answer"
    if len(archive) <= limit:
        return None
    share = len(archive) / managed
    first = ", ".join(leaving.job_number for leaving in archive[:NAMES_SHOWN])
    more = f" and {len(archive) - NAMES_SHOWN} more" if len(archive) > NAMES_SHOWN else ""
    return (
        f"{len(archive)} of {managed} managed jobcodes would leave ({share:.0%}), "
        f"the limit is {limit}: {first}{more}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFact:
    """What counts of a complete fetch: when it asked, how it ended, how many jobs it had."""

    run_id: int
    state: RunState
    observed_at: datetime | None
    jobs: int
    note: str


def why_not(fetches: Iterable[FetchFact], *, now: datetime) -> str | None:
    """Return why no prune may be planned from these complete fetches (newest first), or None."""
    cure = "run `cprqueue sync --full` first"
    facts = list(fetches)
    if not facts:
        return f"there is no complete fetch yet: {cure}"
    newest, *before = facts
    if newest.state is RunState.FAILED:
        return f"the last complete fetch (run {newest.run_id}) failed: {newest.note}: {cure}"
    if newest.state is not RunState.DONE:
        return f"the complete fetch of run {newest.run_id} is still under way: wait for its end"
    if newest.observed_at is None or now - newest.observed_at > FRESH:
        return f"the last complete fetch (run {newest.run_id}) is older than 24 hours: {cure}"
    most = max((fact.jobs for fact in before if fact.state is RunState.DONE), default=0)
    if newest.jobs < most * SMALLEST_SHARE:
        return (
            f"the last complete fetch (run {newest.run_id}) has {newest.jobs} jobs where one "
            f"before had {most}: find out why in RestorationManager, then {cure}"
        )
    return None


def common(approved: Iterable[int], fresh: PrunePlan) -> tuple[Leaving, ...]:
    """Return what both plans hold: an approval is a ceiling, never a licence for more."""
    seen = set(approved)
    return tuple(leaving for leaving in fresh.archive if leaving.jobcode_id in seen)
