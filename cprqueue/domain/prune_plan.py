"""Pure: what a prune would archive, what it holds back, and the brake that refuses too much."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cprqueue.domain.cutting import shortened
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
    kept: Mapping[int, str],
    in_use: Mapping[int, str],
    active_jobs: int,
    limits: Limits,
) -> PrunePlan:
    """Plan from the links and an export (``jobcodes`` by id): archive what is finished.

    Only managed, regular jobcodes that are active in the export and whose job is inactive.
    Held back, each with its reason: ``kept`` (by job id), ``in_use`` (by jobcode), and one with
    an active child that does not leave too. What is kept does not count for the brake, what is
    in use does: it leaves soon. Sorted, so that two plans from the same facts are equal.
    """
    links = [m for m in managed if _is_active(jobcodes.get(m.jobcode_id))]
    finished = {m.jobcode_id: _leaving(m, jobcodes) for m in links if not m.job_active}
    why = {i: kept[leaving.job_id] for i, leaving in finished.items() if leaving.job_id in kept}
    _add_parents(why, finished, jobcodes)
    ready = sorted(leaving for i, leaving in finished.items() if i not in why)
    why |= {
        leaving.jobcode_id: in_use[leaving.jobcode_id]
        for leaving in ready
        if leaving.jobcode_id in in_use
    }
    _add_parents(why, finished, jobcodes)
    archive = [leaving for leaving in ready if leaving.jobcode_id not in why]
    held_back = [replace(finished[i], reason=text) for i, text in why.items()]
    managed_ids = {m.jobcode_id for m in links}
    limit = limits.limit(len(links))
    return PrunePlan(
        archive=tuple(archive),
        held_back=tuple(sorted(held_back)),
        unmanaged=sum(c.active and c.id not in managed_ids for c in jobcodes.values()),
        managed_active=len(links),
        limit=limit,
        tripped=_tripped(ready, len(links), limit, active_jobs, staying=len(ready) - len(archive)),
    )


def _leaving(link: Managed, jobcodes: Mapping[int, Jobcode]) -> Leaving:
    return Leaving(
        job_number=link.job_number,
        job_id=link.job_id,
        jobcode_id=link.jobcode_id,
        name=jobcodes[link.jobcode_id].name,
        reason=link.rule,
    )


def _add_parents(
    why: dict[int, str], finished: Mapping[int, Leaving], jobcodes: Mapping[int, Jobcode]
) -> None:
    """Add who has an active child that does not leave: archiving it would take the child along."""
    busy = parents_of_others(finished.keys() - why.keys(), jobcodes)
    why.update((i, f"has an active child: {name}") for i, name in busy.items())


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


def _tripped(
    ready: list[Leaving], managed: int, limit: int, active_jobs: int, *, staying: int
) -> str | None:
    if ready and not active_jobs:
        return "no job at all is active in RestorationManager: this is probably a wrong answer"
    if len(ready) <= limit:
        return None
    share = len(ready) / managed
    first = ", ".join(shortened(leaving.job_number) for leaving in ready[:NAMES_SHOWN])
    more = f" and {len(ready) - NAMES_SHOWN} more" if len(ready) > NAMES_SHOWN else ""
    stay = f"; {staying} of them stay for now, in use" if staying else ""
    return (
        f"{len(ready)} of {managed} managed jobcodes would leave ({share:.0%}), "
        f"the limit is {limit}: {first}{more}{stay}"
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
