"""The command line: ``python -m cprqueue`` or ``cprqueue``.

Results go to standard output, logs and progress to standard error. Exit codes: 0 done,
1 some jobs failed or were held, 2 wrong use or settings, 3 timed out or a service was out of
reach.
"""

from __future__ import annotations

import itertools
import logging
import sys
from typing import Annotated

import typer

from cprqueue import config, log, private_files
from cprqueue.cli import console
from cprqueue.cli.interrupted import Interrupted
from cprqueue.cli.lazy import Command, LazyGroup

SYNC, SHOW, ARCHIVE, TRY = "Sync", "Show", "Archive and restore", "Try it"

COMMANDS = {
    "up": Command(
        "up:up",
        "Start everything: broker, workers, beat, Flower, and the board. Ctrl-C ends it.",
        SYNC,
    ),
    "plan": Command(
        "plan:plan",
        "Say what a sync would do to QuickBooks Time as it is now; nothing is written anywhere.",
        SYNC,
    ),
    "migrate": Command(
        "migrate:migrate",
        "Bring the database's tables up to date. Containers run it before the workers start.",
        hidden=True,
    ),
    "sync": Command(
        "sync:sync",
        "Fetch the jobs from RestorationManager and push them to QuickBooks Time.",
        SYNC,
    ),
    "fetch": Command(
        "job_files:fetch",
        "Fetch the job list from RestorationManager into a file; nothing else is changed.",
        SYNC,
    ),
    "import": Command(
        "job_files:import_",
        "Record the jobs of a JSON file in the database: the active ones are then pushed.",
        SYNC,
    ),
    "resync": Command(
        "resync:resync",
        "Fetch one job again and put it right in QuickBooks Time, ahead of any backlog.",
        SYNC,
    ),
    "retry": Command("reports:retry", "Push parked and waiting jobs again, now.", SYNC),
    "status": Command(
        "reports:status",
        "Show how things stand: jobs, queues, workers, calls left, last runs, warnings.",
        SHOW,
    ),
    "failures": Command(
        "reports:failures",
        "List the jobs that are parked or held, or failed and are tried again, with the reason.",
        SHOW,
    ),
    "history": Command(
        "reports:history",
        "List the runs (fetches, imports, snapshots, ...) with their counts, newest first.",
        SHOW,
    ),
    "explain": Command(
        "reports:explain",
        "Say why a job is, or is not, in QuickBooks Time, with its history.",
        SHOW,
    ),
    "check": Command(
        "check:check",
        "Check settings, database, broker and both services; one line each, with the cure.",
        SHOW,
    ),
    "metrics": Command(
        "metrics:metrics",
        "Print how things stand as Prometheus text; from the database alone.",
        SHOW,
    ),
    "health": Command(
        "health:health",
        "Say whether this installation does its work; ends with 0 only if it does.",
        SHOW,
    ),
    "digest": Command(
        "alert:digest",
        "Show the morning's lines: what came, went, and waits for a person since a day ago.",
        SHOW,
    ),
    "web": Command(
        "web:web",
        "Serve the board, the pages for the office, until Ctrl-C. `up` does it by itself.",
        SHOW,
    ),
    "web-user": Command(
        "web_user:web_user",
        "Ask for a password and print the user's line for CPR_WEB_USERS; nothing is saved.",
        SHOW,
    ),
    "alert": Command(
        "alert:alert",
        "Send a test to every URL in ALERT_URLS and say of each whether it went.",
        SHOW,
    ),
    "snapshot": Command(
        "snapshot:snapshot",
        "Read all of QuickBooks Time into the table qbt_export; drift is found and put right.",
        ARCHIVE,
    ),
    "prune": Command(
        "prune:prune",
        "Archive the jobcodes of finished jobs: show the plan, run it, approve a held one.",
        ARCHIVE,
    ),
    "keep": Command(
        "keep:keep",
        "Keep the jobcodes of jobs: no prune archives them before the end of that day.",
        ARCHIVE,
    ),
    "unkeep": Command(
        "keep:unkeep", "Keep jobs no longer: the next prune may archive their jobcodes.", ARCHIVE
    ),
    "undo": Command(
        "undo:undo",
        "Restore what a prune or a remove-all archived, as it was; one that is at work ends first.",
        ARCHIVE,
    ),
    "remove-all": Command(
        "remove_all:remove_all",
        "Archive every managed jobcode; without --confirm it only says what would happen.",
        ARCHIVE,
    ),
    "backup": Command(
        "backup:backup",
        "Copy the SQLite database to FILE and check the copy; nothing has to be stopped.",
        ARCHIVE,
    ),
    "copy-database": Command(
        "copy_database:copy_database",
        "Copy everything into another, empty database: from SQLite to a server, or back.",
        ARCHIVE,
    ),
    "sandbox": Command(
        "sandbox:sandbox",
        "Serve both services with made-up jobs, and print the settings for .env. Ctrl-C ends it.",
        TRY,
    ),
    "demo": Command(
        "demo:demo",
        "See the whole system at work on made-up jobs: no account, nothing left behind.",
        TRY,
    ),
}
"""Every command; each has the lines of its help from its own docstring (a test compares)."""


class _Commands(LazyGroup):
    known = COMMANDS


app = typer.Typer(
    name="cprqueue",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Keeps QuickBooks Time in step with RestorationManager's jobs, one way.",
    epilog="Try it without any account:  cprqueue demo",
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.say(f"cprqueue {version('cprqueue')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; whatever goes wrong ends in one line, never in a traceback."""
    console.prepare_streams()
    try:
        code = _run()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - nothing of it is swallowed
        from cprqueue.cli import failing

        options = itertools.takewhile(lambda word: word != "--", sys.argv[1:])
        code = failing.end(error, as_json="--json" in options)
    sys.exit(code)


def _run() -> int:
    private_files.keep_new_files_private()
    log.set_up(config.log_format(), logging.WARNING)
    logging.getLogger(log.RUNS).setLevel(logging.CRITICAL)  # commands say it themselves
    code = int(app(prog_name="cprqueue", standalone_mode=False) or 0)
    if code == Interrupted.exit_code:
        raise KeyboardInterrupt  # typer makes an exit code of Ctrl-C, and nobody has said it
    with console.writing():
        pass  # what is still in a buffer
    return code
