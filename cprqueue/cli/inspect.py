"""What people ask: ``status``, ``failures``, ``retry``, ``history``, ``explain``."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def status(json: Json = False) -> None:
    """Show how things stand."""
    raise NotImplementedError


def failures(json: Json = False) -> None:
    """List the jobs that could not be pushed, with the reason."""
    raise NotImplementedError


def retry(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...")] = None,
    everything: Annotated[bool, typer.Option("--all")] = False,
) -> None:
    """Push parked and waiting jobs again, now."""
    raise NotImplementedError


def history(json: Json = False, limit: Annotated[int, typer.Option("--limit")] = 20) -> None:
    """List the runs, newest first."""
    raise NotImplementedError


def explain(job: Annotated[str, typer.Argument(metavar="JOB")], json: Json = False) -> None:
    """Say why a job is, or is not, in QuickBooks Time."""
    raise NotImplementedError
