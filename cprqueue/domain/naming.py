"""Pure: which job may have a number as its jobcode's name, when several claim it.

Names are unique among jobcodes in QuickBooks Time, so numbers that are doubled, handed on
or swapped need an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cprqueue.domain.models import NAME_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """One job, its number, and the name that its jobcode has now.

    ``desired_key`` is "" for a job that desires no name (inactive); ``observed_key`` is "" without
    a jobcode. ``creating``: a request to create its jobcode may be under way. ``parked``: it
    moves no more before a person or its job changes something. ``seniority`` orders those who
    came first.
    """

    job_id: int
    label: str
    desired_key: str
    observed_key: str = ""
    jobcode_id: int | None = None
    creating: bool = False
    parked: bool = False
    seniority: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Free:
    """The job may have its number."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """A job that is no longer active holds the jobcode of this number: it becomes ours."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Aside:
    """A job that keeps this number unless it is moved has it: its jobcode is renamed first.

    Such a job is no longer active, or it is parked, or about to be: the number that it wants is
    taken, or was refused.
    """

    job_id: int
    jobcode_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Temporary:
    """Jobs hand their numbers round in a circle: this one steps aside first."""

    name: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Another job still has the number and is about to give it up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Another active job has the same number and came first."""

    reason: str


Ruling = Free | TakeOver | Aside | Temporary | Blocked | Taken


def rule(me: Claimant, name: str, others: Iterable[Claimant]) -> Ruling:
    """Rule whether ``me`` may have ``name`` now.

    ``others``: every job that wants or holds the same name, and whoever holds the names which
    those holders want, and so on. The same inputs give the same ruling on every host.
    """
    rivals = [other for other in others if other.job_id != me.job_id]
    first = _first(me, rivals)
    if first is not me and _has_its_number(first):
        return Taken(f"{first.label} has the same number and came first: it keeps the jobcode")
    if first is not me and first.creating:
        # Not Taken yet: what is being created may turn out to be another number's jobcode.
        return Blocked(f"{first.label} has the same number and is being created")
    if first is not me:
        return Taken(f"{first.label} has the same number and came first: it gets the jobcode")
    holder = next((rival for rival in rivals if rival.observed_key == me.desired_key), None)
    if holder is None or me.observed_key == me.desired_key:
        return Free()
    return _against_holder(me, name, holder, rivals)


def _first(me: Claimant, rivals: Iterable[Claimant]) -> Claimant:
    """Return who may have the number that ``me`` wants, among all who want it."""
    return min(
        [me, *(rival for rival in rivals if rival.desired_key == me.desired_key)], key=_precedence
    )


def _precedence(claimant: Claimant) -> tuple[bool, bool, tuple[int, int]]:
    return (not _has_its_number(claimant), not claimant.creating, claimant.seniority)


def _has_its_number(claimant: Claimant) -> bool:
    return claimant.observed_key == claimant.desired_key


def _against_holder(me: Claimant, name: str, holder: Claimant, rivals: list[Claimant]) -> Ruling:
    if not holder.desired_key and holder.jobcode_id is not None:
        if me.jobcode_id is None:
            return TakeOver(holder.job_id)
        return Aside(holder.job_id, holder.jobcode_id, beside(name, holder.job_id))
    stays = holder.parked or _first(holder, [me, *rivals]) is not holder
    if holder.jobcode_id is not None and stays:
        return Aside(holder.job_id, holder.jobcode_id, beside(name, holder.job_id))
    circle = _circle(me, {rival.observed_key: rival for rival in rivals if rival.observed_key})
    if circle and me.job_id == min(circle):
        return Temporary(beside(name, me.job_id))
    return Blocked(f"{holder.label} still has this number and is renamed first")


def _circle(me: Claimant, holders: Mapping[str, Claimant]) -> set[int]:
    """Return the jobs of the circle that ``me`` is in, or an empty set."""
    seen = {me.job_id}
    desired = me.desired_key
    while desired and desired != me.observed_key:
        holder = holders.get(desired)
        if holder is None or holder.job_id in seen:
            return set()
        seen.add(holder.job_id)
        desired = holder.desired_key
    return seen if desired else set()


def beside(name: str, job_id: int) -> str:
    """Return a name that nobody else wants, close to ``name`` and within the limit."""
    mark = f" ~{job_id}"
    return name[: NAME_LIMIT - len(mark)] + mark
