"""Pure: one round of a batch: who may have which name, each job's next step, what is sent first.

The push carries rounds out (``services.push``), the plan goes through the same ones in memory
(``push_forecast``), so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cprqueue.domain import naming, push_plan
from cprqueue.domain.models import BATCH
from cprqueue.domain.push_item import Item

Rulings = dict[int, naming.Ruling]
Todo = push_plan.Verify | push_plan.Write

ROUNDS = 14
"""Most requests for one claim; a job needs five at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was decided: who has come to an end, who waits for another job, what is to be sent."""

    done: list[Item]
    parked: list[tuple[Item, push_plan.Park]]
    waits: list[tuple[Item, push_plan.Wait]]
    todo: dict[int, Todo]

    @property
    def ends(self) -> bool:
        """Tell whether any job leaves the batch."""
        return bool(self.done or self.parked or self.waits)


def may_adopt(item: Item, rivals: Iterable[naming.Claimant]) -> bool:
    """Tell whether a job may adopt a jobcode: unless another with its number came first."""
    return not any(
        rival.desired_key == item.key
        and rival.jobcode_id is None
        and not rival.parked
        and rival.seniority < item.seniority
        for rival in rivals
    )


def find_claimants(
    keys: Iterable[str], claimants_of: Callable[[Sequence[str]], Iterable[naming.Claimant]]
) -> list[naming.Claimant]:
    """Return every job that claims these names, and those that claim theirs, and so on.

    ``claimants_of`` returns the jobs that want or have one of some names.
    """
    found: dict[int, naming.Claimant] = {}
    asked: set[str] = set()
    todo = set(keys)
    while todo - asked:
        claimants = claimants_of(sorted(todo - asked))
        asked |= todo
        found |= {claimant.job_id: claimant for claimant in claimants}
        todo = {c.desired_key for c in found.values() if c.observed_key in asked and c.desired_key}
    return list(found.values())


def rule_each(items: Iterable[Item], rivals: Sequence[naming.Claimant]) -> Rulings:
    """Rule for each job whether it may have its number as a name now."""
    return {i.job_id: naming.rule(i.claimant, i.desired.name, rivals) for i in items}


def decide_each(items: Iterable[Item], rulings: Rulings) -> Round:
    """Decide each job's next step.

    Whoever waits stays in the batch while another one in it may still make way.
    """
    steps = [(item, _next(item, rulings[item.job_id])) for item in items]
    waits = [(item, step) for item, step in steps if isinstance(step, push_plan.Wait)]
    if any(isinstance(step, push_plan.ChangeJobcode) for _, step in steps):
        waits = []
    ends = (push_plan.Done, push_plan.Park, push_plan.Wait)
    return Round(
        done=[item for item, step in steps if isinstance(step, push_plan.Done)],
        parked=[(item, step) for item, step in steps if isinstance(step, push_plan.Park)],
        waits=waits,
        todo={item.job_id: step for item, step in steps if not isinstance(step, ends)},
    )


def _next(item: Item, ruling: naming.Ruling) -> push_plan.Step:
    return push_plan.next_action(item.desired, item.observed, certain=item.certain, ruling=ruling)


def first_request(todo: Mapping[int, Todo]) -> list[int]:
    """Return the jobs whose steps go first, in one request: one for each location.

    A location's links are replaced as a whole, so a second change in the same request would
    bring back what the first took off.
    """
    rank = min(step.rank for step in todo.values())
    chosen, seen = [], set()
    for job_id, step in todo.items():
        place = getattr(step, "location_id", None)
        if step.rank == rank and (place is None or place not in seen):
            chosen.append(job_id)
            seen.add(place)
    return chosen[:BATCH]
