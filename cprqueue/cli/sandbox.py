"""``cprqueue sandbox``: local stand-ins for RestorationManager and QuickBooks Time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cprqueue.cli.console import note, say
from cprqueue.errors import UsageError
from cprqueue.sandbox import credentials, server
from cprqueue.services.reports.words import counted


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8030,
    jobs: Annotated[int, typer.Option(min=0, help="How many RM jobs there are.")] = 2000,
    env: Annotated[
        Path | None, typer.Option(help="Write the settings to this new file, such as .env.")
    ] = None,
) -> None:
    """Serve both services with made-up jobs, and print the settings for .env. Ctrl-C ends it.

    Everything is in memory: a restart forgets it.
    """
    if env is not None and env.exists():
        raise UsageError(f"{env} exists already: name another file, or move it away")

    def ready(running: server.Sandbox) -> None:
        _hand_out(running, jobs, env)

    try:
        server.serve(port=port, jobs=jobs, ready=ready)
    except OSError as error:
        raise UsageError(f"port {port}: {error.strerror}: choose another with --port") from None


def _hand_out(running: server.Sandbox, jobs: int, env: Path | None) -> None:
    text = dotenv(credentials.environment(running.url))
    if env is not None:
        write_private(env, text)
        note(f"wrote {env}; in a second terminal, in the same directory: `cprqueue up`")
    else:
        for line in text.splitlines():
            say(line)
    made_up = counted(jobs, "job")
    note(f"RestorationManager with {made_up}, and an empty QuickBooks Time: {running.url}")
    note("Ctrl-C ends it")


def dotenv(values: dict[str, str]) -> str:
    """Return the lines of a .env file; python-dotenv and a shell both read them."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    if not value or all(c.isalnum() or c in "-_./:" for c in value):
        return value
    # Between double quotes both of them read these three as escapes.
    for special in ("\\", '"', "$"):
        value = value.replace(special, "\\" + special)
    return f'"{value}"'


def write_private(path: Path, text: str) -> None:
    """Write a file with secrets in it, for nobody else to read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(text)
