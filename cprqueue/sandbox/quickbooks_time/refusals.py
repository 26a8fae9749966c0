"""What ends a request, or one item of it, early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MESSAGES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required: Billing not current",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large: Max Items Exceeded",
    417: "Expectation Failed",
    429: "Too many requests",
    499: "Client address is not authorized",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class RequestRefusedError(Exception):
    """The whole request is refused with an HTTP status."""

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    @property
    def message(self) -> str:
        """The status in words, then the detail."""
        words = MESSAGES.get(self.status, "Error")
        return f"{words}: {self.detail}" if self.detail else words


class ItemRefusedError(Exception):
    """One item of a write is refused; the others are not affected."""

    def __init__(self, extra: str, code: int = 417) -> None:
        super().__init__(extra, code)
        self.extra = extra
        self.code = code


class NameExistsError(Exception):
    """The item was accepted and not carried out: the jobcode exists already (202)."""

    def __init__(self, echo: Mapping[str, Any]) -> None:
        super().__init__(echo)
        self.echo = echo


def conflict(name: str) -> ItemRefusedError:
    """Return the refusal of a name that a sibling has."""
    return ItemRefusedError(
        f'Oops! The name or alias conflicts with another item named "{name}". '
        "Try choosing another name/alias or deleting the other conflicting item first"
    )
