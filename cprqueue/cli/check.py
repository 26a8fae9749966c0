"""``check``: settings, database, broker and both services, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cprqueue.bootstrap import application
from cprqueue.cli.console import add_row, print_json, show
from cprqueue.errors import SettingsError
from cprqueue.operating.checking import parts
from cprqueue.services.reports.checkup import Checkup
from cprqueue.services.reports.findings import (
    OK,
    PROBLEM,
    SETTINGS,
    UNREACHABLE,
    WARNING,
    Finding,
    wrong_settings,
)

WORDS = {
    OK: Text("OK", "green"),
    WARNING: Text("warning", "yellow"),
    PROBLEM: Text("problem", "bold red"),
    UNREACHABLE: Text("problem", "bold red"),
    SETTINGS: Text("problem", "bold red"),
}


def check(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check settings, database, broker and both services; one line each, with the cure.

    Ends with 0 if all is well, 1 if something is not, 2 if settings are wrong
    or missing, 3 if a service is out of reach. A stopped push goes on once
    QuickBooks Time accepts our requests.

    Example:  cprqueue check
    """
    found = []
    for finding in _findings():
        found.append(finding)
        if not json:
            show(_line(finding))
    code = exit_code({finding.state for finding in found})
    if json:
        print_json({"ok": code == 0, "checks": [asdict(finding) for finding in found]})
    raise typer.Exit(code)


def exit_code(states: set[str]) -> int:
    """Return the exit code for what was found: the most basic trouble decides."""
    for state, code in ((SETTINGS, 2), (UNREACHABLE, 3), (PROBLEM, 1)):
        if state in states:
            return code
    return 0


def _findings() -> Iterator[Finding]:
    try:
        app = application()
    except SettingsError as error:
        yield from wrong_settings(error)
        return
    yield from Checkup(app.settings, parts(app)).run()


def _line(finding: Finding) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(width=7)
    made.add_column(width=18)
    made.add_column(overflow="fold")
    add_row(made, (WORDS[finding.state], finding.name, finding.text))
    if finding.cure:
        add_row(made, ("", "", f"-> {finding.cure}"))
    return made
