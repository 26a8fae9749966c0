"""How a plan of a sync is printed: tables, CSV, or one JSON document. It shows addresses."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence

from cprqueue.cli.console import say, show_table, writing
from cprqueue.domain.models import Address, Json
from cprqueue.domain.states import Intent
from cprqueue.domain.sync_plan import PlannedJob, Step
from cprqueue.services.plan.plan import Made
from cprqueue.services.reports.words import cell, counted

NAMES_SHOWN = 60
PARTS = tuple(Address().as_dict())
FIELDS = ("name", "active", "assigned_to_all", *PARTS, "other_addresses")

WORDS = {
    Step.CREATE: "a jobcode is created",
    Step.ADOPT: "a jobcode of this name is there: it is adopted",
    Step.RESTORE: "an archived jobcode is restored, for everybody",
    Step.RENAME: "the jobcode's name is changed",
    Step.SET_ADDRESS: "the jobcode is given an address",
    Step.CHANGE_ADDRESS: "the jobcode's address is changed",
    Step.REMOVE_ADDRESS: "an address is taken off the jobcode",
    Step.PARK: "nothing can be done before a person or the job changes something",
}

CALLS = {
    "snapshot": "to read the account first",
    Intent.CREATE_JOBCODE: "to create jobcodes",
    Intent.CHANGE_JOBCODE: "to change jobcodes",
    Intent.CREATE_LOCATION: "to create locations",
    Intent.CHANGE_LOCATION: "to change locations",
    "verify": "to read back what is not certain",
}


def document(made: Made, jobs: Iterable[PlannedJob]) -> dict[str, object]:
    """Return what ``plan --json`` prints."""
    names = ("job_id", "job_number", "actions", "before", "after", "reason")
    return {
        "counts": made.plan.counts,
        "jobs": [{name: getattr(job, name) for name in names} for job in jobs],
        "unclaimed": made.plan.unclaimed,
        "calls": made.calls,
        "seconds": made.seconds,
    }


def show(made: Made, jobs: Sequence[PlannedJob], *, all_rows: bool) -> None:
    """Print counts, the jobs that something happens to, and what it takes.

    ``all_rows``: also jobs that are left as they are, and every jobcode that no job claims.
    """
    counts = [(str(n), step, WORDS[Step(step)]) for step, n in made.plan.counts.items() if n]
    left = [job for job in made.plan.jobs if not job.actions]
    active = sum(job.active for job in left)
    counts.append((str(active), "leave", "as the job is in RestorationManager already"))
    counts.append((str(len(left) - active), "leave", "the job is not active: no sync touches it"))
    show_table("What a sync would do", ("jobs", "action", ""), counts)
    rows = [_row(job) for job in jobs if job.actions or all_rows]
    if rows:
        say("")
        show_table("Job by job", ("job", "action", "now", "then", "reason"), rows)
    _show_unclaimed(made.plan.unclaimed, len(made.plan.unclaimed) if all_rows else NAMES_SHOWN)
    say("")
    say(_calls(made))


def _row(job: PlannedJob) -> tuple[str, ...]:
    actions = ", ".join(step.replace("_", " ") for step in job.actions) or "leave"
    label = job.job_number or f"RM job {job.job_id}"
    return label, actions, _words(job.before), _words(_news(job)), job.reason


def _news(job: PlannedJob) -> dict[str, Json]:
    """Return what is after it; of a jobcode that is created, the address alone."""
    known = ("name", "active", "assigned_to_all") if Step.CREATE in job.actions else ()
    return {name: value for name, value in job.after.items() if name not in known}


def _words(fields: Mapping[str, Json]) -> str:
    """Put the fields of one side into words."""
    said = [f"name {fields['name']}"] if "name" in fields else []
    if "active" in fields:
        said.append("active" if fields["active"] else "archived")
    if "assigned_to_all" in fields:
        said.append("for everybody" if fields["assigned_to_all"] else "not for everybody")
    address = ", ".join(str(fields[part]) for part in PARTS if fields.get(part))
    if any(part in fields for part in PARTS):
        said.append(f"address {address or '-'}")
    others = fields.get("other_addresses")
    if isinstance(others, list | tuple):
        said += [f"also {other}" for other in others]
    return "; ".join(said)


def _show_unclaimed(names: Sequence[str], shown: int) -> None:
    if not names:
        return
    say("")
    show_table(
        f"Jobcodes that no job claims: {len(names)}, left alone", ("name",), zip(names[:shown])
    )
    if len(names) > shown:
        say(f"... and {len(names) - shown} more: --all shows them")


def _calls(made: Made) -> str:
    parts = [f"{n} {CALLS[kind]}" for kind, n in sorted(made.plan.calls.items())]
    if not parts:
        return "No call to QuickBooks Time is needed."
    minutes = max(1, round(made.seconds / 60))
    total = counted(made.calls, "call")
    return f"{total} to QuickBooks Time, about {counted(minutes, 'minute')}: {', '.join(parts)}"


def print_csv(jobs: Iterable[PlannedJob]) -> None:
    """Print a row for each job; no cell is taken for a formula."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    pairs = [f"{field}_{when}" for field in FIELDS for when in ("before", "after")]
    rows.writerow(["job_id", "job_number", "actions", *pairs, "reason"])
    for job in jobs:
        sides = [cell(side.get(field)) for field in FIELDS for side in (job.before, job.after)]
        number, reason = cell(job.job_number), cell(job.reason)
        rows.writerow([job.job_id, number, " ".join(job.actions), *sides, reason])
    with writing():
        if sys.stdout is not None:
            sys.stdout.write(text.getvalue())
