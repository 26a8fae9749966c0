"""The command line: ``python -m cprqueue`` or ``cprqueue``.

Results go to standard output, logs and progress to standard error. Exit codes: 0 done,
1 some jobs failed or were held, 2 wrong use or settings, 3 timed out or a service was out of
reach.
"""

from __future__ import annotations

import logging
import sys

import typer
from typer.exceptions import Abort, TyperException

from cprqueue import config, log, private_files
from cprqueue.cli.console import say_error
from cprqueue.errors import CprqueueError

app = typer.Typer(
    name="cprqueue",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Keeps RestorationManager's jobs in step with QuickBooks Time, one way.",
    epilog="Try it without any account:  cprqueue demo",
)


def _register() -> None:
    """Hang each command's function into the app; one module for each."""
    from cprqueue.cli import (
        check,
        demo,
        job_files,
        migrate,
        prune,
        remove_all,
        reports,
        resync,
        sandbox,
        sync,
        undo,
        up,
    )

    app.command(rich_help_panel="Run")(up.up)
    app.command(hidden=True)(migrate.migrate)
    app.command(rich_help_panel="Run")(sync.sync)
    app.command(rich_help_panel="Run")(job_files.fetch)
    app.command("import", rich_help_panel="Run")(job_files.import_)
    app.command(rich_help_panel="Run")(resync.resync)
    app.command(rich_help_panel="Look")(reports.status)
    app.command(rich_help_panel="Look")(reports.failures)
    app.command(rich_help_panel="Run")(reports.retry)
    app.command(rich_help_panel="Look")(reports.history)
    app.command(rich_help_panel="Look")(reports.explain)
    app.command(rich_help_panel="Look")(check.check)
    app.command(rich_help_panel="Clean up")(prune.snapshot)
    app.add_typer(prune.prune, name="prune", rich_help_panel="Clean up")
    app.command(rich_help_panel="Clean up")(undo.undo)
    app.command("remove-all", rich_help_panel="Clean up")(remove_all.remove_all)
    app.command(rich_help_panel="Try")(sandbox.sandbox)
    app.command(rich_help_panel="Try")(demo.demo)


def _command(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return str(context.command_path) if context else "cprqueue"


def main() -> None:
    """Run the command line; errors that we raise on purpose are lines, never tracebacks."""
    try:
        private_files.keep_new_files_private()
        log.set_up(config.log_format(), logging.WARNING)
        logging.getLogger(log.RUNS).setLevel(logging.CRITICAL)  # commands say it themselves
        _register()
        sys.exit(app(prog_name="cprqueue", standalone_mode=False))
    except CprqueueError as error:
        say_error(str(error))
        sys.exit(error.exit_code)
    except TyperException as error:
        text = error.format_message().rstrip(".")
        if text:  # nothing is to be said where the help was just shown
            say_error(f"{text}: see `{_command(error)} --help`")
        sys.exit(2)
    except (KeyboardInterrupt, Abort):
        say_error("stopped")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
