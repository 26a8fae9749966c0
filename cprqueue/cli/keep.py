"""``cprqueue keep`` and ``unkeep``: a person says that the jobcode of a job stays."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

from cprqueue.cli.console import note, print_json, require_text, say
from cprqueue.cli.reports import Json, known_ids, ready
from cprqueue.services.prune import keeps
from cprqueue.services.prune.keeps import Kept

LONGEST_NAME = 100

Jobs = Annotated[list[str], typer.Argument(metavar="JOB", help="Job ids or job numbers.")]


def person() -> str:
    """Return the name of whoever gives this order, as this machine knows it."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        name = "operator"
    return name.encode("utf-8", "replace").decode()[:LONGEST_NAME]


def keep(
    jobs: Jobs,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day, like 2027-01-31.")
    ] = None,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why; plans show it.")] = "",
    json: Json = False,
) -> None:
    """Keep the jobcodes of jobs: no prune archives them before the end of that day.

    Without --until that is until `cprqueue unkeep`. Ends with 1 if a jobcode
    is archived already, and says what restores it.

    Example: cprqueue keep BMS-25-00008M --until 2027-01-31 --because "warranty visit"
    """
    require_text(because)
    app = ready()
    timezone = app.settings.timezone
    ids = known_ids(app, jobs)
    kept = keeps.keep(
        app.db, ids, requested_by=person(), until=until, because=because, timezone=timezone
    )
    if json:
        print_json([_as_json(row, timezone) for row in kept])
    else:
        _show(kept, timezone)
    raise typer.Exit(1 if any(row.note for row in kept) else 0)


def _as_json(row: Kept, timezone: str) -> dict[str, object]:
    names = {"job_id": row.job_id, "job_number": row.job_number, "jobcode_id": row.jobcode_id}
    return {**names, **row.keep.as_json(timezone), "note": row.note}


def _show(kept: list[Kept], timezone: str) -> None:
    for row in kept:
        label = row.job_number or f"RM job {row.job_id}"
        say(f"{label} is {row.keep.text(timezone)}")
        if row.note:
            note(f"{label}: {row.note}")


def unkeep(jobs: Jobs, json: Json = False) -> None:
    """Keep jobs no longer: the next prune may archive their jobcodes.

    Example: cprqueue unkeep BMS-25-00008M
    """
    app = ready()
    ids = known_ids(app, jobs)
    unkept = keeps.unkeep(app.db, ids, requested_by=person())
    others = [job_id for job_id in ids if job_id not in unkept]
    if json:
        print_json({"unkept": unkept, "unchanged": others})
        return
    for job_id in others:
        note(f"RM job {job_id} was not kept")
    say(f"{len(unkept)} kept no longer")
