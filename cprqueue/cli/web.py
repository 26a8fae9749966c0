"""``cprqueue web``: the board alone, as a program of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from cprqueue.errors import UsageError

LOOPBACK = "127.0.0.1"

HOW_TO = (
    "the board is off: put the line that `cprqueue web-user NAME --role operator` prints into "
    ".env as CPR_WEB_USERS"
)


def web(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: CPR_WEB_PORT. 0: any free one.")
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="IP", help="Where to listen; leave it, but in a container.")
    ] = LOOPBACK,
) -> None:
    """Serve the board, the pages for the office, until Ctrl-C. `up` does it by itself.

    Nobody sees it without a log-in: CPR_WEB_USERS says who may.

    Example:  cprqueue web --port 8081
    """
    serve(port=port, address=address, is_open=False)


def serve(*, port: int | None, address: str, is_open: bool) -> None:
    """Serve the board. An open one needs no log-in, so it shows a sandbox, on loopback."""
    import cprqueue.celery  # noqa: F401  (sets up this process as a program of ours)
    from cprqueue.bootstrap import application
    from cprqueue.web import server

    app = application()
    if is_open:
        server.require_sandbox(app.settings, address)
    elif not app.settings.web_users:
        raise UsageError(HOW_TO)
    chosen = app.settings.web_port if port is None else port
    server.serve(app, address=address, port=chosen, is_open=is_open)
