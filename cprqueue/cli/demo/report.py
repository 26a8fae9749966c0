"""The demo's report: what was done, what it cost, and whether it is right."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cprqueue.cli.console import add_row, say, show, table
from cprqueue.cli.demo.changes import Changes
from cprqueue.domain.records import ClaimedLink
from cprqueue.sandbox.audit import Audit

SHOWN_FAULTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One sync: what it printed, what it cost by the sandbox's own count, and what came of it."""

    name: str
    printed: dict[str, float]
    calls: int
    least: int
    audit: Audit

    @property
    def jobs_per_second(self) -> float:
        """Jobs from RM to QuickBooks Time, by the clock on the wall."""
        return float(self.printed["emitted"] / self.printed["seconds"])


def show_rounds(rounds: Iterable[Round]) -> None:
    """Print a line for each sync."""
    made = table(
        "What was done",
        *("", "from RM", "in step", "parked", "seconds", "jobs/s", "calls", "least possible"),
    )
    for one in rounds:
        printed = one.printed
        counts = (printed["emitted"], printed["in_sync"], printed["parked"])
        times = (f"{printed['seconds']:.1f}", f"{one.jobs_per_second:.0f}")
        add_row(made, (one.name, *map(str, counts), *times, str(one.calls), str(one.least)))
    _print(made)


def show_changes(changes: Changes) -> None:
    """Print what happened in RM between the syncs."""
    made = table(
        "Between the two, in RestorationManager", "jobs", "what happened", "in QuickBooks Time"
    )
    add_row(made, (str(len(changes.new)), "came new", "a jobcode and a location more"))
    add_row(made, (str(len(changes.renamed)), "got another number", "the same jobcode, renamed"))
    add_row(made, (str(len(changes.moved)), "got another address", "the same location, changed"))
    closed = "stays until the monthly prune archives it"
    add_row(made, (str(len(changes.closed)), "were closed", closed))
    _print(made)


def show_audits(rounds: Iterable[Round]) -> None:
    """Print what QuickBooks Time really holds, after each sync."""
    rounds = list(rounds)
    made = table(
        "Compared with what QuickBooks Time really holds", "", *(one.name for one in rounds)
    )
    for text, count in (
        ("active jobs with one jobcode and the right location", lambda a: a.right),
        ("active jobs parked: number too long or doubled", lambda a: a.unfit),
        ("jobcodes of closed jobs, for the monthly prune", lambda a: a.leftover),
        ("wrong", lambda a: len(a.wrong)),
    ):
        add_row(made, (text, *(str(count(one.audit)) for one in rounds)))
    _print(made)
    for one in rounds:
        for line in one.audit.wrong[:SHOWN_FAULTS]:
            say(f"wrong after the {one.name}: {line}")


def show_parked(rows: Iterable[ClaimedLink]) -> None:
    """Print which jobs wait for a person, and why."""
    made = table("Parked", "job", "number", "reason")
    for row in rows:
        add_row(made, (str(row.job_id), row.job_number, row.error_reason or ""))
    _print(made)


def show_what_is_next() -> None:
    """Print what to do after the demo."""
    say(f"With --keep it goes on, with its board to look at:  {command(Path.cwd(), 'demo --keep')}")
    say('With jobs of your own: README.md, "Use it".')


def command(directory: Path, words: str) -> str:
    """Return how a command is given in ``directory``, also where no PATH leads to cprqueue."""
    here = Path(sys.executable).with_name("cprqueue")
    if shutil.which("cprqueue"):
        return f"cprqueue {words}"
    if not here.exists():
        return f"{shlex.quote(sys.executable)} -m cprqueue {words}"
    near = here.relative_to(directory) if here.is_relative_to(directory) else here
    return f"{shlex.quote(str(near))} {words}"


def _print(made: Table) -> None:
    say("")
    show(made)
