"""How a command ends that cannot do what it was asked: one line, and the exit code.

With ``--json`` the same stands in a document on standard output. A traceback is never printed:
that of an error of ours is saved in a file.
"""

from __future__ import annotations

import errno
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from typer.exceptions import Abort, TyperException

from cprqueue import config, crashes, log
from cprqueue.cli import console
from cprqueue.errors import CprqueueError
from cprqueue.store.database import first_line

PROBLEM, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
PLAINER = {  # what Typer's validator says of a word
    "Input should be a valid integer, unable to .*": "write a whole number",
    "Input should be a valid number, unable to .*": "write a number",
    "Input should be": "it must be",
}
BROKER_LIBRARIES = frozenset({"amqp", "kombu", "redis"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is printed, if anything, and the exit code."""

    text: str
    code: int


def end(error: BaseException, *, as_json: bool) -> int:
    """Say what ended the command; return its exit code."""
    if isinstance(error, console.OutputClosed | console.OutputFailed) or _is_output(error):
        console.give_up_output()
        as_json = False
    found = ending(error)
    if found.text:
        console.say_error(found.text)
    if as_json and not console.document_printed:
        try:
            console.print_json({"error": found.text, "exit": found.code})
        except (console.OutputClosed, console.OutputFailed):
            console.give_up_output()
    return found.code


def _is_output(error: BaseException) -> bool:
    """Tell whether a library met a lost standard output, while it printed a help text."""
    lost = (errno.ENOSPC, errno.EIO, errno.EBADF)
    return isinstance(error, OSError) and error.filename is None and error.errno in lost


def ending(error: BaseException) -> Ending:
    """Return how a command ends because of ``error``."""
    match error:
        case CprqueueError():
            return Ending(text=str(error), code=error.exit_code)
        case TyperException():
            return Ending(text=_usage(error), code=USAGE)
        case KeyboardInterrupt() | Abort():
            return Ending(text="stopped", code=INTERRUPTED)
        case console.OutputClosed() | BrokenPipeError():
            return Ending(text="", code=0)
        case console.OutputFailed():
            return Ending(text=str(error), code=PROBLEM)
    return _from_outside(error) or _fault(error)


def _from_outside(error: BaseException) -> Ending | None:
    """Return the end for an error of the database, the broker or the operating system."""
    if isinstance(error, DBAPIError):
        text = f"the database refused a statement: {first_line(error)}"
        return Ending(text=f"{text}: the whole error is in {_save(error)}", code=UNREACHABLE)
    if type(error).__module__.partition(".")[0] in BROKER_LIBRARIES:
        text = log.without_password(str(error).partition("\n")[0]) or type(error).__name__
        return Ending(text=f"the broker: {text}", code=UNREACHABLE)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Ending(text=f"{place}{error.strerror or error}", code=UNREACHABLE)
    return None


def _fault(error: BaseException) -> Ending:
    text = f"a fault in cprqueue itself ({type(error).__name__}): please report it with "
    return Ending(text=text + _save(error), code=PROBLEM)


def _usage(error: TyperException) -> str:
    """Return what was wrong; nothing where the help was just shown."""
    said = error.format_message()
    text, see = said.rstrip(".?"), "? See" if said.endswith("?") else ": see"
    for library, ours in PLAINER.items():
        text = re.sub(library, ours, text)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "cprqueue"
    return f"{text}{see} `{command} --help`" if text else ""


def _save(error: BaseException) -> str:
    """Save the traceback; return the path of its file."""
    text = log.without_password("".join(traceback.format_exception(error)))
    return crashes.save(text, _directories())


def _directories() -> Iterator[Path]:
    """Return where a traceback may be saved; the settings may be what is wrong."""
    with suppress(CprqueueError, OSError):
        yield Path(config.environment().get("CPR_VAR_DIR", "").strip() or "var")
    yield Path(tempfile.gettempdir())
