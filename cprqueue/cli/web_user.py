"""``cprqueue web-user``: the line for somebody who may log in to the board."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cprqueue.cli.console import note, say
from cprqueue.errors import UsageError
from cprqueue.settings.web import NAME, Role, WebUser


def web_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What that person logs in with.")],
    role: Annotated[
        Role, typer.Option(help="A viewer reads; an operator syncs, approves and undoes too.")
    ] = Role.VIEWER,
) -> None:
    """Ask for a password and print the user's line for CPR_WEB_USERS; nothing is saved.

    The password comes from the terminal, or from standard input, one line.
    In .env the line stands behind CPR_WEB_USERS=, several separated by a semicolon.

    Example:  cprqueue web-user ann --role operator
    """
    from cprqueue.web import passwords

    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a user: write up to 30 letters, digits or any of . _ @ -"
        )
    password = _password(name)
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise UsageError(
            f"the password must have from {passwords.SHORTEST} to {passwords.LONGEST} characters"
        )
    say(WebUser(name=name, hash=passwords.hashed(password), role=role).text())
    note(f"In .env it stands behind CPR_WEB_USERS=, like CPR_WEB_USERS={name}:...:{role}")
    note("(behind a ; where somebody is there already). Then start `cprqueue up` again.")


def _password(name: str) -> str:
    if sys.stdin is None:
        raise UsageError("there is no standard input to read the password from")
    if sys.stdin.isatty():
        return str(
            typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
        )
    try:
        text = sys.stdin.buffer.readline(4096).decode()  # as a browser sends it, in any locale
    except UnicodeDecodeError:
        raise UsageError("the password is no text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
