"""``check``: is everything there that the work needs?"""

from __future__ import annotations

from typing import Annotated

import typer


def check(json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Check settings, database, broker and both services; one line each, with the cure."""
    raise NotImplementedError
