"""The GETs of jobcodes and locations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company, folded
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES
from cprqueue.sandbox.quickbooks_time.query import Query
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
        wanted = query.given.get("name", "").strip()
        if not wanted:
            return rows
        if self.company.switches.name_filter_prefix:
            wanted = wanted.rstrip("*") + "*"
        exact = "*" not in wanted
        if exact and query.given.get("parent_ids") == "0":
            same = {row.id for row in self.company.named(wanted, 0)}
            return (row for row in rows if row.id in same)
        pattern = re.compile(".*".join(re.escape(part) for part in folded(wanted).split("*")))
        return (row for row in rows if pattern.fullmatch(folded(row.name)))

    def locations(self, query: Query) -> Any:
        """Return a page of locations."""
        query.refuse_unknown("active")
        active = query.activity()
        rows = (row for row in query.chosen(self.company.locations) if active in (None, row.active))
        return query.listing("locations", rows, self.views.location, self.company.rng)
