"""What a page says that cannot be shown: one sentence, the cure, and the right status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError
from tornado.web import HTTPError, MissingArgumentError

from cprqueue.errors import (
    AccessStopped,
    AlreadyDone,
    AlreadyRunning,
    CprqueueError,
    NeedsApproval,
    Transient,
    UsageError,
)
from cprqueue.store.database import first_line

TITLES = {
    400: "This request makes no sense here",
    403: "This is not allowed",
    404: "There is no such page",
    405: "This page takes no such request",
    409: "That was not done",
    413: "That is too much",
    429: "Too many tries",
    500: "A fault in cprqueue itself",
    503: "Something is out of reach",
}

WORDS = {
    404: "Nothing is at this address: start again from the page Now.",
    405: "Use the links and buttons of the pages.",
    500: "The log of the board names the file with the whole error: please report it.",
}

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Problem(HTTPError):
    """Ends a request with an error page: ``text`` is one sentence for a person, with the cure."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(status)
        self.text = text
        self.headers = headers


def title(status: int) -> str:
    """Return the head line of an error page."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def text(error: BaseException | None, status: int) -> str:
    """Return the sentence; an error that says nothing for a person has one by its status."""
    if isinstance(error, Problem):
        return error.text
    if isinstance(error, MissingArgumentError):
        return f"{error.arg_name} is missing."
    return WORDS.get(status, "Go back and try again.")


def translated(error: Exception) -> Problem | None:
    """Return the problem that one of our errors is to a reader; None for a fault of ours."""
    match error:
        case UsageError():
            return Problem(400, str(error))
        case AlreadyDone() | NeedsApproval() | AlreadyRunning():
            return Problem(409, str(error))
        case Transient() | AccessStopped():
            return Problem(503, str(error))
        case CprqueueError():
            return Problem(409, str(error))
        case DBAPIError():
            return Problem(503, f"The database refused a statement: {first_line(error)}")
    return None
