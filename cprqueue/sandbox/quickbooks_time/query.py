"""Read the parameters of a listing: filters, dates, pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from random import Random
from typing import Any, TypeVar

from cprqueue.sandbox.quickbooks_time import values
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Row
from cprqueue.sandbox.quickbooks_time.switches import Switches

R = TypeVar("R", bound=Row)
LIMIT = 200
_COMMON = {"ids", "modified_since", "supplemental_data", "limit", "page"}


@dataclass(slots=True)
class Query:
    """The parameters of one GET. What cannot be read is refused with RequestRefusedError."""

    given: Mapping[str, str]
    switches: Switches

    def refuse_unknown(self, *known: str) -> None:
        """Refuse parameters outside the common ones and ``known``, where switched on."""
        wrong = [key for key in self.given if key not in _COMMON and key not in known]
        if wrong and self.switches.unknown_parameter_refused:
            raise RequestRefusedError(417, "Invalid param(s): " + ",".join(wrong))

    def ids(self, name: str = "ids") -> list[int] | None:
        """Return a comma list of ids, or None where the parameter is absent or empty."""
        raw = self.given.get(name, "").strip()
        if not raw:
            return None
        words = [word.strip() for word in raw.split(",") if word.strip()]
        if not all(re.fullmatch(r"-?\d{1,18}", word) for word in words):
            raise RequestRefusedError(417, f"Invalid value for {name}")
        return [int(word) for word in words]

    def choice(self, name: str, default: str, *others: str) -> str:
        """Return one of a few words; any other word counts as the default, or is refused."""
        word = self.given.get(name, default).strip().lower()
        if word in (default, *others):
            return word
        if self.switches.strict_filters:
            raise RequestRefusedError(417, f"Invalid value for {name}")
        return default

    def activity(self, default: str = "yes", name: str = "active") -> bool | None:
        """Return whether active or archived rows are wanted; None is both."""
        word = self.choice(name, default, "yes", "no", "both")
        return {"yes": True, "no": False}.get(word)

    def moment(self, name: str) -> datetime | None:
        """Return a date/time parameter, or None where it is absent or empty."""
        raw = self.given.get(name, "")
        if not raw:
            return None
        try:
            return values.moment(raw, offset_needed=self.switches.naive_dates_refused)
        except ValueError:
            raise RequestRefusedError(417, f"Invalid date for {name}: {raw!r}") from None

    def chosen(self, table: Mapping[int, R]) -> Iterable[R]:
        """Return the rows of the wanted ids, or all of them, by id."""
        ids = self.ids()
        if ids is None:
            return table.values()
        return [table[each] for each in sorted(set(ids)) if each in table]

    def listing(
        self, endpoint: str, rows: Iterable[R], show: Callable[[R], Any], rng: Random
    ) -> Any:
        """Return the body with the wanted page of those rows that changed since the wanted time."""
        since, itself = self.moment("modified_since"), self.switches.since_inclusive
        if since is not None:
            rows = (
                row
                for row in rows
                if row.last_modified > since or (itself and row.last_modified == since)
            )
        page, more = self._page(rows, rng)
        shown = {str(row.id): show(row) for row in page}
        return body(endpoint, shown, self.switches, more=more)

    def _page(self, rows: Iterable[R], rng: Random) -> tuple[list[R], bool]:
        size, number = self._size(), self._number()
        if self.switches.order == "last_modified":
            rows = sorted(rows, key=lambda row: (row.last_modified, row.id))
        start = (number - 1) * size
        found = list(islice(rows, start, start + size + 1))
        page, more = found[:size], len(found) > size
        if self.switches.order == "random":
            rng.shuffle(page)
        return page, more

    def _size(self) -> int:
        raw = self.given.get("limit", str(LIMIT))
        if not re.fullmatch(r"\d{1,9}", raw) or not 1 <= int(raw) <= LIMIT:
            raise RequestRefusedError(417, f"limit must be an integer from 1 to {LIMIT}")
        return int(raw)

    def _number(self) -> int:
        raw = self.given.get("page", "1")
        if not re.fullmatch(r"\d{1,9}", raw):
            raise RequestRefusedError(417, "page must be an integer")
        return int(raw) or 1


def body(
    endpoint: str, shown: Mapping[str, Any], switches: Switches, *, more: bool | None = None
) -> Any:
    """Return an answer's whole body; ``more`` None leaves that key out."""
    if not shown and switches.empty_results == "bare_list":
        return []
    results: dict[str, Any] = {}
    if shown or switches.empty_results == "section":
        results[endpoint] = shown or ([] if switches.empty_as_list else {})
    return {"results": results} | ({} if more is None else {"more": more})
