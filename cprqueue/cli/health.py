"""``health``: ends with 0 only if this installation does its work; for monitors and containers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cprqueue.bootstrap import application
from cprqueue.cli.console import print_json, show_outcomes
from cprqueue.operating import health as asking


def health(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say whether this installation does its work; ends with 0 only if it does.

    That is: a good fetch within three of its intervals, beat and a worker on
    each queue at work, database and broker in reach, the push not stopped.
    Ends with 1 if something is not so, 3 if database or broker are out of
    reach. A new installation is healthy after its first fetch: give a
    container a start period of ten minutes.

    Example:  cprqueue health
    """
    found = asking.ask(application())
    if json:
        shown = [asdict(each) for each in found.checks]
        print_json({"ok": found.code == asking.DONE, "checks": shown})
    else:
        show_outcomes((each.ok, each.name, each.text) for each in found.checks)
    raise typer.Exit(found.code)
