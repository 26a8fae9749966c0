"""What a page was asked for: parameters of an address or a form, read strictly.

Whoever sends what no link or form of ours sends gets a page with status 400.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from cprqueue.web.problems import Problem

MOST_NUMBER = 2**63 - 1  # what the database's whole numbers hold
LONGEST = 200


class Query:
    """The parameters of one request, by name."""

    def __init__(self, given: Mapping[str, list[bytes]]) -> None:
        self._given = given

    def text(self, name: str, default: str = "", *, longest: int = LONGEST) -> str:
        """Return a text without spaces around it; all of it can be shown and stored."""
        values = self._given.get(name, [])
        if not values:
            return default
        if len(values) > 1:
            raise Problem(400, f"{name} stands there {len(values)} times: give it once.")
        if len(values[0]) > 4 * longest:
            raise Problem(400, f"{name} is too long: {longest} characters at most.")
        found = _decoded(name, values[0]).strip()
        if len(found) > longest:
            raise Problem(400, f"{name} is too long: {longest} characters at most.")
        return found

    def number(self, name: str, default: int, *, least: int = 0, most: int = MOST_NUMBER) -> int:
        """Return a whole number within these bounds."""
        found = self.text(name)
        if not found:
            return default
        fine = found.isascii() and found.isdecimal() and len(found) < 20
        if not fine or not least <= int(found) <= most:
            raise Problem(400, f"{name} must be a whole number from {least} to {most}.")
        return int(found)

    def numbers(self, name: str, *, most: int) -> list[int]:
        """Return the numbers of a parameter that may stand there again and again, as boxes do."""
        given = self._given.get(name, [])
        if len(given) > most:
            raise Problem(400, f"{name} stands there {len(given)} times: {most} at most.")
        found = (Query({name: [value]}).number(name, 0, least=1) for value in given)
        return list(dict.fromkeys(found))

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Return one of these words."""
        found = self.text(name)
        if found and found not in choices:
            raise Problem(400, f"{name} must be one of: {', '.join(choices)}.")
        return found or default

    def day(self, name: str) -> str | None:
        """Return a day like 2027-01-31, or None."""
        found = self.text(name)
        try:
            return date.fromisoformat(found).isoformat() if found else None
        except ValueError:
            raise Problem(400, f"{name} must be a day like 2027-01-31.") from None


def _decoded(name: str, value: bytes) -> str:
    try:
        found = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, f"{name} is no text in UTF-8.") from None
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in found) or "\x7f" in found:
        raise Problem(400, f"{name} holds a character that no text has.")
    return found
