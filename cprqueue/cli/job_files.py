"""``fetch`` and ``import``: the first two steps by hand, with a file in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from cprqueue.bootstrap import Application, application
from cprqueue.cli.console import err, print_json, say
from cprqueue.errors import UsageError
from cprqueue.services.fetch import job_files
from cprqueue.services.reports.words import counted
from cprqueue.store import schema

Report = Callable[[int], None]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _ready() -> Application:
    """Return the application with its tables made: these commands need no `up` before them."""
    made = application()
    schema.upgrade(made.db)
    return made


def fetch(
    full: Annotated[
        bool, typer.Option("--full", help="All jobs, not only those changed since the last run.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch the job list from RestorationManager into a file; nothing else is changed.

    All jobs go to var/cpr_all_jobs.json, changed ones to var/cpr_changed_jobs.json.

    Example:  cprqueue fetch --full --output jobs.json
    """
    if output is not None and output.is_dir():
        raise UsageError(f"{output} is a directory: name a file in it")
    app = _ready()
    app.settings.require_services()
    with _download_bar() as (loaded, checked):
        try:
            done = job_files.fetch_file(
                app.fetch, full=full, output=output, loaded=loaded, counted=checked
            )
        except OSError as error:
            raise UsageError(f"{output or app.settings.var_dir}: {error.strerror}") from None
    if json:
        print_json(done.as_json())
    else:
        kind = "all that there are" if done.complete else "changed since the last run"
        say(f"{counted(done.jobs, 'job')}, {kind}{_unread(done.note)}: {done.path}")


@contextmanager
def _download_bar() -> Iterator[tuple[Report, Report]]:
    columns = TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn()
    jobs = TextColumn("{task.fields[jobs]}"), TimeElapsedColumn()
    with _bar(*columns, *jobs) as bar:
        task = bar.add_task("fetching", total=None, jobs="")

        def loaded(so_far: int) -> None:
            bar.update(task, completed=so_far)

        def checked(so_far: int) -> None:
            bar.update(task, description="checking", jobs=counted(so_far, "job"))

        yield loaded, checked


def _bar(*columns: ProgressColumn) -> Progress:
    """Make a bar that vanishes when the work is done; without a terminal there is none."""
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A JSON file with RM jobs.")],
    json: Json = False,
) -> None:
    """Record the jobs of a JSON file in the database: the active ones are then pushed.

    The file holds a list of jobs as RestorationManager sends them, bare or
    under "results", "jobs" or "value". What is on record from a later time
    than the file's stays as it is. Ends with 1 if the brake on pushes holds
    some of them.

    Example:  cprqueue import var/cpr_all_jobs.json
    """
    app = _ready()
    work = job_files.Import(app.db, app.rules, app.push_limits)
    survey = work.open(file)
    with _record_bar(len(survey.last_index)) as recorded:
        done = work.run(file, survey, recorded=recorded)
    if json:
        print_json(done.as_json())
    else:
        say(_imported(done))
    raise typer.Exit(1 if done.held else 0)


@contextmanager
def _record_bar(total: int) -> Iterator[Report]:
    columns = TextColumn("{task.description}"), BarColumn(bar_width=40), MofNCompleteColumn()
    with _bar(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task("recording", total=total)
        yield lambda so_far: bar.update(task, completed=so_far)


def _imported(done: job_files.Imported) -> str:
    older = f", {done.older} older than the record" if done.older else ""
    due = f"; {len(done.due)} due for QuickBooks Time" if done.due else ""
    held = f"; {done.held} held: see `cprqueue plan show {done.run_id}`" if done.held else ""
    return (
        f"{counted(done.jobs, 'job')}: {done.new} new, {done.changed} changed, "
        f"{done.unchanged} unchanged{older}; {done.active} active, {done.inactive} inactive"
        f"{_unread(done.note)}{due}{held}"
    )


def _unread(note: str | None) -> str:
    return f"; {note}" if note else ""
