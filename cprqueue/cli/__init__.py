"""The command line: ``python -m cprqueue`` or ``cprqueue``.

Results go to standard output, logs and progress to standard error. Exit codes: 0 done,
1 some jobs failed or were held, 2 wrong use or settings, 3 timed out or a service was out of
reach.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib.metadata import version
from typing import Annotated

import typer

from cprqueue import config, log, private_files
from cprqueue.cli import console
from cprqueue.cli.interrupted import Interrupted

app = typer.Typer(
    name="cprqueue",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Keeps QuickBooks Time in step with RestorationManager's jobs, one way.",
    epilog="Try it without any account:  cprqueue demo",
)

SYNC, SHOW, ARCHIVE, TRY = "Sync", "Show", "Archive and restore", "Try it"


def _show_version(asked: bool) -> None:
    if asked:
        console.say(f"cprqueue {version('cprqueue')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


@cache
def _register() -> None:
    """Add each command's function to the app; one module for each."""
    from cprqueue.cli import (
        alert,
        backup,
        check,
        copy_database,
        demo,
        health,
        job_files,
        keep,
        metrics,
        migrate,
        plan,
        prune,
        remove_all,
        reports,
        resync,
        sandbox,
        snapshot,
        sync,
        undo,
        up,
    )

    app.command(rich_help_panel=SYNC)(up.up)
    app.command(hidden=True)(migrate.migrate)
    app.add_typer(plan.plan, name="plan", rich_help_panel=SYNC)
    app.command(rich_help_panel=SYNC)(sync.sync)
    app.command(rich_help_panel=SYNC)(job_files.fetch)
    app.command("import", rich_help_panel=SYNC)(job_files.import_)
    app.command(rich_help_panel=SYNC)(resync.resync)
    app.command(rich_help_panel=SYNC)(reports.retry)
    app.command(rich_help_panel=SHOW)(reports.status)
    app.command(rich_help_panel=SHOW)(reports.failures)
    app.command(rich_help_panel=SHOW)(reports.history)
    app.command(rich_help_panel=SHOW)(reports.explain)
    app.command(rich_help_panel=SHOW)(check.check)
    app.command(rich_help_panel=SHOW)(metrics.metrics)
    app.command(rich_help_panel=SHOW)(health.health)
    app.command(rich_help_panel=SHOW)(alert.digest)
    app.command(rich_help_panel=SHOW)(alert.alert)
    app.command(rich_help_panel=ARCHIVE)(snapshot.snapshot)
    app.add_typer(prune.prune, name="prune", rich_help_panel=ARCHIVE)
    app.command(rich_help_panel=ARCHIVE)(keep.keep)
    app.command(rich_help_panel=ARCHIVE)(keep.unkeep)
    app.command(rich_help_panel=ARCHIVE)(undo.undo)
    app.command("remove-all", rich_help_panel=ARCHIVE)(remove_all.remove_all)
    app.command(rich_help_panel=ARCHIVE)(backup.backup)
    app.command("copy-database", rich_help_panel=ARCHIVE)(copy_database.copy_database)
    app.command(rich_help_panel=TRY)(sandbox.sandbox)
    app.command(rich_help_panel=TRY)(demo.demo)


def main() -> None:
    """Run the command line; whatever goes wrong ends in one line, never in a traceback."""
    console.prepare_streams()
    try:
        code = _run()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - nothing of it is swallowed
        from cprqueue.cli import failing

        code = failing.end(error, as_json="--json" in sys.argv[1:])
    sys.exit(code)


def _run() -> int:
    private_files.keep_new_files_private()
    log.set_up(config.log_format(), logging.WARNING)
    logging.getLogger(log.RUNS).setLevel(logging.CRITICAL)  # commands say it themselves
    _register()
    code = int(app(prog_name="cprqueue", standalone_mode=False) or 0)
    if code == Interrupted.exit_code:
        raise KeyboardInterrupt  # typer makes an exit code of Ctrl-C, and nobody has said it
    with console.writing():
        pass  # what is still in a buffer
    return code
