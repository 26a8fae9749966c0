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
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError, RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Row
from cprqueue.sandbox.quickbooks_time.switches import Switches

R = TypeVar("R", bound=Row)
LIMIT = 200
PER_PAGE = 50
_PAGING = {"limit", "per_page", "page"}
_COMMON = {"ids", "modified_since", "modified_before", "supplemental_data"} | _PAGING


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

    def flag(self, name: str) -> bool | None:
        """Return a boolean parameter, or None where it is absent."""
        if name not in self.given:
            return None
        try:
            return values.boolean(name, self.given[name])
        except ItemRefusedError as refused:
            raise RequestRefusedError(417, refused.extra) from None

    def supplemental(self) -> bool:
        """Tell whether supplemental data is wanted."""
        return self.choice("supplemental_data", "yes", "no") == "yes"

    def moment(self, name: str) -> datetime | None:
        """Return a date/time parameter, or None where it is absent or empty."""
        raw = self.given.get(name, "")
        if not raw:
            return None
        if not self.switches.spaced_offset_refused:
            raw = raw.replace(" ", "+")
        try:
            return values.moment(raw, offset_needed=self.switches.naive_dates_refused)
        except ValueError:
            raise RequestRefusedError(417, f"Invalid date for {name}: {raw!r}") from None

    def modified(self, rows: Iterable[R]) -> Iterable[R]:
        """Keep the rows that the modified filters let pass."""
        passes = self.modified_passes()
        return (row for row in rows if passes(row.last_modified)) if passes else rows

    def modified_passes(self) -> Callable[[datetime], bool] | None:
        """Return the test of the modified filters, or None without any."""
        since, before = self.moment("modified_since"), self.moment("modified_before")
        if since is None and before is None:
            return None
        since_too, before_too = self.switches.since_inclusive, self.switches.before_inclusive

        def passes(at: datetime) -> bool:
            late = since is None or at > since or (since_too and at == since)
            early = before is None or at < before or (before_too and at == before)
            return late and early

        return passes

    def page(self, rows: Iterable[R], rng: Random) -> tuple[list[R], bool]:
        """Return the wanted page, and whether another follows."""
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
        limit, per_page = self._limit(), self._per_page()
        if limit is not None and (self.switches.limit_wins or per_page is None):
            return limit
        return per_page or LIMIT

    def _limit(self) -> int | None:
        if "limit" not in self.given:
            return None
        raw = self.given["limit"]
        if not re.fullmatch(r"\d{1,9}", raw) or not 1 <= int(raw) <= LIMIT:
            detail = f"limit must be an integer from 1 to {LIMIT}"
            raise RequestRefusedError(self.switches.bad_limit_status, detail)
        return int(raw)

    def _per_page(self) -> int | None:
        if "per_page" not in self.given:
            return None
        raw = self.given["per_page"]
        wanted = int(raw) if re.fullmatch(r"\d{1,9}", raw) else PER_PAGE
        return min(wanted, PER_PAGE) or PER_PAGE

    def _number(self) -> int:
        raw = self.given.get("page", "1")
        if not re.fullmatch(r"\d{1,9}", raw):
            raise RequestRefusedError(self.switches.bad_page_status, "page must be an integer")
        return int(raw) or 1


def chosen(table: Mapping[int, R], ids: list[int] | None) -> Iterable[R]:
    """Return the rows of these ids, or all of them, by id."""
    if ids is None:
        return table.values()
    return [table[each] for each in sorted(set(ids)) if each in table]


def body(
    endpoint: str,
    shown: Mapping[str, Any],
    switches: Switches,
    *,
    more: bool | None = None,
    supplemental: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """Return a listing's whole body; ``more`` None leaves that key out."""
    if not shown and switches.empty_results == "bare_list":
        return []
    results: dict[str, Any] = {}
    if shown or switches.empty_results == "section":
        results[endpoint] = shown or ([] if switches.empty_as_list else {})
    answer: dict[str, Any] = {"results": results}
    if more is not None:
        answer["more"] = more
    sections = {name: rows for name, rows in (supplemental or {}).items() if rows}
    return answer | ({"supplemental_data": sections} if sections else {})
