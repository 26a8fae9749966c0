"""``fetch`` and ``import``: the two steps by hand, with a file in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    full: Annotated[bool, typer.Option("--full", help="All jobs, not only changed ones.")] = False,
    output: Annotated[Path | None, typer.Option("--output", help="Write to this file.")] = None,
) -> None:
    """Fetch the job list from RestorationManager into a file; nothing else is changed."""
    raise NotImplementedError


def import_(file: Annotated[Path, typer.Argument(help="A JSON file with jobs.")]) -> None:
    """Record the jobs of a JSON file in the database."""
    raise NotImplementedError
