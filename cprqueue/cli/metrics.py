"""``cprqueue metrics``: Prometheus text on standard output, in a file, or over HTTP."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cprqueue.bootstrap import application
from cprqueue.cli import console
from cprqueue.errors import UsageError
from cprqueue.store import schema


def metrics(
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to this file, whole or not at all."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics here; 0: any free port.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address for --port.")] = "127.0.0.1",
) -> None:
    """Print how things stand as Prometheus text; from the database alone.

    --output is for node_exporter's textfile collector, --port for Prometheus
    itself: it serves until Ctrl-C. docs/monitoring.md shows both.

    Example:  cprqueue metrics --port 9545
    """
    if output is not None and port is not None:
        raise UsageError("choose --output or --port: a file is written once, a port is served")
    if port is not None:
        from cprqueue.cli import metrics_server

        metrics_server.serve(host, port, read)
    elif output is not None:
        write(output, read())
    else:
        with console.writing():
            sys.stdout.write(read().decode())


def read() -> bytes:
    """Return the metrics as they are now; no connection to the database is kept."""
    from cprqueue.services.reports.metrics import text

    app = application()
    try:
        schema.require_current(app.db)
        return text(app.db, app.budget)
    finally:
        app.db.close()


def write(path: Path, content: bytes) -> None:
    """Replace the file by one with this content, which everybody may read.

    The file beside it that is written first has another ending: a collector leaves it alone.
    What is killed in the middle leaves the old file, and that one. Raises UsageError.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except OSError as error:
        with suppress(OSError):
            Path(name).unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
