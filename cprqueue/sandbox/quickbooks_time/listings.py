"""The GETs of jobcodes and locations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company, folded
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES
from cprqueue.sandbox.quickbooks_time.query import Query
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Jobcode
from cprqueue.sandbox.quickbooks_time.views import Views

_ANY_PARENT = -1


@dataclass(slots=True)
class Listings:
    """Answers with a page of rows; filters hold together, and have documented defaults."""

    company: Company
    views: Views

    def jobcodes(self, query: Query) -> Any:
        """Return a page of jobcodes."""
        query.refuse_unknown("parent_ids", "name", "type", "active")
        parents = query.ids("parent_ids") or [_ANY_PARENT]
        kind, active = query.choice("type", "regular", "all", *TYPES), query.activity()
        rows = (
            row
            for row in self._named(query)
            if (_ANY_PARENT in parents or row.parent_id in parents)
            and kind in ("all", row.type)
            and active in (None, row.active)
        )
        return query.listing("jobcodes", rows, self.views.jobcode, self.company.rng)

    def _named(self, query: Query) -> Iterable[Jobcode]:
        rows = query.chosen(self.company.jobcodes)
        name = query.given.get("name", "").strip()
        if not name:
            return rows
        if self.company.switches.name_filter_prefix:
            name = name.rstrip("*") + "*"
        exact = "*" not in name
        if exact and query.given.get("parent_ids") == "0":
            same = {row.id for row in self.company.named(name, 0)}
            return (row for row in rows if row.id in same)
        pattern = re.compile(".*".join(re.escape(part) for part in folded(name).split("*")))
        return (row for row in rows if pattern.fullmatch(folded(row.name)))

    def locations(self, query: Query) -> Any:
        """Return a page of locations."""
        query.refuse_unknown("active", "geocoding_status")
        active, statuses = query.activity(), self._statuses(query)
        rows = (
            row
            for row in query.chosen(self.company.locations)
            if active in (None, row.active) and (not statuses or row.geocoding_status in statuses)
        )
        return query.listing("locations", rows, self.views.location, self.company.rng)

    def _statuses(self, query: Query) -> set[str]:
        """Return the statuses that are asked for; none where that filter has no effect."""
        how = self.company.switches.geocoding_filter
        words = query.given.get("geocoding_status", "")
        if words and how == "refused":
            raise RequestRefusedError(417, "Invalid param(s): geocoding_status")
        return {word.strip() for word in words.split(",")} - {""} if how == "honoured" else set()
