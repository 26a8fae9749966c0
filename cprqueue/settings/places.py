"""What the settings say about places on this machine, and what is not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

EXAMPLE = ".env.example"


def missing_directory(url: str, name: str, made: Path | None = None) -> Iterator[str]:
    """Say that an SQLite file's directory is not there, unless we make it ourselves (``made``).

    A mistyped path must never begin an empty database somewhere else.
    """
    if not url.strip().startswith("sqlite"):
        return
    from sqlalchemy import make_url  # it takes a while to load
    from sqlalchemy.exc import ArgumentError

    with suppress(ArgumentError, ValueError):  # no URL: the engine says so
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            place = Path(parsed.database).absolute().parent
            if not place.is_dir() and place != made:
                yield f"{name} names a file in {place}: there is no such directory: make it first"


def no_dotenv() -> Iterator[str]:
    """Say that there is no .env here, and of which file to make one."""
    here = Path.cwd()
    if not (here / ".env").exists():
        package = Path(__file__).parent.parent.parent
        places = (here, package, Path(sys.prefix) / "share" / "cprqueue")
        found = (place / EXAMPLE for place in places if (place / EXAMPLE).is_file())
        example = next(found, here / EXAMPLE)
        shown = EXAMPLE if example.parent == here else example
        yield f"there is no .env in {here}: `cp {shown} .env`, and fill it in"
