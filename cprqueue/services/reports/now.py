"""Is it working, and what waits for a person? One sentence, and what it is made of.

Texts may hold job numbers and reasons, never an address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cprqueue.clients.budget import Budget
from cprqueue.domain.records import ClaimedLink, Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.health import Check
from cprqueue.services.reports import overview, warnings
from cprqueue.services.reports.overview import Status
from cprqueue.services.reports.words import counted, without_commands
from cprqueue.services.signs import SWEEP, Signs, at_once
from cprqueue.store import activity, held_pushes, news, runs, waiting
from cprqueue.store.database import Database, clock

SHOWN = 8
"""So many parked jobs are named, and so many held plans of each kind."""

DRIFT_IS_NEWS = timedelta(days=1)


class Level(StrEnum):
    """How bad it is: nothing to do, somebody is waited for, or the work does not go on."""

    WELL = "well"
    WAITS = "waits"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPush:
    """A fetch whose changes the brake holds."""

    run_id: int
    jobs: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """How things stand at ``at``.

    ``troubles``: what is not as it has to be. ``pushed``: the last 24 hours, each by its beginning.
    """

    at: datetime
    status: Status
    troubles: Sequence[Check]
    parked: Sequence[ClaimedLink]
    held_pushes: Sequence[HeldPush]
    held_prunes: Sequence[Run]
    drifted: Sequence[str]
    notes: Sequence[str]
    pushed: Sequence[tuple[datetime, int]]

    @property
    def waiting(self) -> list[str]:
        """What waits for a person, in a few words each."""
        numbers = (
            (self.status.jobs["parked"], "parked job"),
            (len(self.held_pushes) + len(self.held_prunes), "held plan"),
        )
        return [counted(number, noun) for number, noun in numbers if number]

    @property
    def level(self) -> Level:
        """How bad it is."""
        if self.troubles:
            return Level.WAITS if self._is_new else Level.WRONG
        return Level.WAITS if self.waiting else Level.WELL

    @property
    def _is_new(self) -> bool:
        """True where all that is missing is the first fetch."""
        return self.status.fetch_tried is None and {c.name for c in self.troubles} == {"fetch"}

    @property
    def headline(self) -> str:
        """The answer in a few words."""
        if self.level is Level.WELL:
            return "All is well"
        if self.troubles:
            return "Nothing was fetched yet" if self._is_new else _worst(self.troubles)
        one = len(self.waiting) == 1 and self.waiting[0].startswith("1 ")
        return f"All works; {' and '.join(self.waiting)} {'waits' if one else 'wait'} for you"


QUEUE = "queue "
NOTHING_RUNS = "Nothing is at work"
TITLES = {
    "broker": "The broker is out of reach",
    "push": "Nothing is written to QuickBooks Time",
    "fetch": "No jobs come from RestorationManager",
    "beat": "Nothing begins by itself: beat is silent",
    "disk": "The disk is nearly full",
}
"""What it means for the office that a check fails, the most basic first."""


def title(check: Check) -> str:
    """Say what it means for the office that this check fails."""
    if check.name.startswith(QUEUE):
        return f"No worker takes what is in the {check.name}"
    return TITLES.get(check.name, f"The {check.name} is out of reach")


def _worst(troubles: Sequence[Check]) -> str:
    found = {check.name: check for check in troubles}
    silent = [name for name in found if name.startswith(QUEUE)]
    if len(silent) > 1 and "broker" not in found:
        return NOTHING_RUNS
    return next((TITLES[name] for name in TITLES if name in found), title(troubles[0]))


def begins(check: Check, seen: Signs | None, began: datetime) -> bool:
    """Tell whether what was started at ``began`` still has time to show this sign."""
    if check.ok or seen is None:
        return False
    if check.name == "beat":
        return not seen.is_late(SWEEP, began)
    queue = check.name.removeprefix(QUEUE)
    return queue != check.name and seen.took(queue, or_at=began)


def read(
    db: Database, budget: Budget, checks: Sequence[Check], seen: Signs | None, *, began: datetime
) -> Now:
    """Read how things stand; ``checks`` and ``seen`` are those of ``health``.

    ``began``: when whoever asks was started, and perhaps all the rest with it.
    """
    status = overview.read_status(db, budget, seen.latest if seen else at_once)
    with db.read() as conn:
        at = clock(conn)
        held = list(held_pushes.held_counts(conn).items())[:SHOWN]
        return Now(
            at=at,
            status=status,
            troubles=[each for each in checks if not each.ok and not begins(each, seen, began)],
            parked=waiting.parked(conn, limit=SHOWN),
            held_pushes=[
                HeldPush(
                    run_id=run_id,
                    jobs=jobs,
                    reason=without_commands(waiting.held_reason(conn, run_id)),
                )
                for run_id, jobs in held
            ],
            held_prunes=runs.newest_few(conn, RunKind.PRUNE, RunState.HELD, limit=SHOWN),
            drifted=news.happened_since(conn, "drift", at - DRIFT_IS_NEWS),
            notes=warnings.worth_knowing(conn, status.fetch_succeeded),
            pushed=activity.pushed_by_hour(conn, at),
        )
