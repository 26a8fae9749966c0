"""Pure: what one fetch would have the push write, and the brake that holds too much of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cprqueue.domain.cutting import listed
from cprqueue.domain.models import Address, Desired, Observed
from cprqueue.domain.push_plan import jobcode_changes

FREE_CREATIONS_BELOW = 50
"""With fewer managed jobcodes than this, creations have no brake."""

NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """How many jobcodes are managed: ever, and ``active``, those whose job is active.

    Those of finished jobs pile up over the years. Were they counted for the limits, it would
    exceed all that a flood can change.
    """

    ever: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushLimits:
    """The brake: a share of the managed jobcodes, never below ``minimum``."""

    fraction: float
    minimum: int

    def of(self, managed: Managed) -> int:
        """Return how many jobs one fetch may change, and how many it may create."""
        return max(self.minimum, int(managed.active * self.fraction))


class Effect(StrEnum):
    """What a push of a job would write."""

    NOTHING = "nothing"
    CREATE = "create"
    CHANGE = "change"


def effect_of(desired: Desired, observed: Observed) -> Effect:
    """Return what a push would write, by what was observed last."""
    if observed.jobcode_id is None:
        return Effect.CREATE
    address = observed.address if observed.location_linked else Address()
    same = address == desired.address and not jobcode_changes(desired.name, observed)
    return Effect.NOTHING if same else Effect.CHANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many jobs of one fetch would be created or changed, over all parts decided so far."""

    creates: int = 0
    changes: int = 0

    def plus(self, effects: Iterable[Effect]) -> Tally:
        """Count these too."""
        found = list(effects)
        return replace(
            self,
            creates=self.creates + found.count(Effect.CREATE),
            changes=self.changes + found.count(Effect.CHANGE),
        )


def tripped(tally: Tally, managed: Managed, limits: PushLimits) -> str:
    """Say why the brake holds a fetch, in words that follow "would"; "" where it does not."""
    limit = limits.of(managed)
    if tally.changes > limit:
        return f"change {tally.changes} of {managed.active} jobcodes (the limit is {limit})"
    if tally.creates > limit and managed.ever >= FREE_CREATIONS_BELOW:
        return f"create {tally.creates} jobcodes beside {managed.active} (the limit is {limit})"
    return ""


def held_text(run_id: int, reason: str, names: Sequence[str]) -> str:
    """Tell a person what is held, and the commands that decide on it."""
    return (
        f"run {run_id} would {reason}: {listed(names, NAMES_SHOWN)}; nothing of it is "
        f"written before a person decides: `cprqueue plan show {run_id}`, then "
        f"`cprqueue plan approve {run_id}` or `cprqueue plan dismiss {run_id}`"
    )
