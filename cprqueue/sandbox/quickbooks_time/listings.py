"""The GETs of jobcodes, locations, their map, and geofence configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company, folded
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES
from cprqueue.sandbox.quickbooks_time.query import Query, body, chosen
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Jobcode, Location, MapRow
from cprqueue.sandbox.quickbooks_time.views import Views

_ANY_PARENT = -1
_STATUSES = ("none", "in_progress", "retry", "error", "complete")


@dataclass(slots=True)
class Listings:
    """Answers with a page of rows; filters hold together, and have documented defaults."""

    company: Company
    views: Views

    def jobcodes(self, query: Query, user_id: int) -> Any:
        """Return a page of jobcodes, with their ancestors and locations."""
        query.refuse_unknown("parent_ids", "name", "type", "active", "customfields")
        rows = query.modified(self._jobcodes(query))
        page, more = query.page(rows, self.company.rng)
        shown = {str(row.id): self.views.jobcode(row) for row in page}
        if query.flag("customfields"):
            shown = {key: row | {"customfields": {}} for key, row in shown.items()}
        extra = self._around_jobcodes(page) if query.supplemental() else None
        switches = self.company.switches
        return body("jobcodes", shown, switches, more=more, supplemental=extra)

    def _jobcodes(self, query: Query) -> Iterable[Jobcode]:
        rows = self._named(query)
        parents = query.ids("parent_ids") or [_ANY_PARENT]
        if _ANY_PARENT not in parents:
            wanted = set(parents)
            rows = (row for row in rows if row.parent_id in wanted)
        kind = query.choice("type", "regular", "all", *TYPES)
        if kind != "all":
            rows = (row for row in rows if row.type == kind)
        active = query.activity()
        if active is not None:
            rows = (row for row in rows if row.active is active)
        return rows

    def _named(self, query: Query) -> Iterable[Jobcode]:
        rows = chosen(self.company.jobcodes, query.ids())
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

    def _around_jobcodes(self, page: list[Jobcode]) -> Mapping[str, Mapping[str, Any]]:
        shown = {row.id for row in page}
        parents = {each.id: each for row in page for each in self.company.ancestors(row)}
        places = sorted({each for row in page for each in self.company.locations_of(row.id)})
        return {
            "jobcodes": {
                str(key): self.views.jobcode(parents[key]) for key in sorted(set(parents) - shown)
            },
            "locations": {
                str(key): self.views.nested_location(self.company.locations[key]) for key in places
            },
        }

    def locations(self, query: Query, user_id: int) -> Any:
        """Return a page of locations, with their jobcodes and geofences."""
        query.refuse_unknown("active", "geocoding_status", "by_jobcode_assignment")
        rows: Iterable[Location] = chosen(self.company.locations, query.ids())
        active, statuses = query.activity(), self._statuses(query)
        if active is not None:
            rows = (row for row in rows if row.active is active)
        if statuses:
            rows = (row for row in rows if row.geocoding_status in statuses)
        if query.flag("by_jobcode_assignment"):
            rows = (row for row in rows if self._reachable(row, user_id))
        page, more = query.page(query.modified(rows), self.company.rng)
        shown = {str(row.id): self.views.location(row) for row in page}
        extra = self.around_locations(page) if query.supplemental() else None
        switches = self.company.switches
        return body("locations", shown, switches, more=more, supplemental=extra)

    def _statuses(self, query: Query) -> set[str]:
        words = {word.strip() for word in query.given.get("geocoding_status", "").split(",")} - {""}
        if self.company.switches.strict_filters and words - set(_STATUSES):
            raise RequestRefusedError(417, "Invalid value for geocoding_status")
        return words

    def _reachable(self, row: Location, user_id: int) -> bool:
        return any(self.company.assigned(user_id, each) for each in row.jobcodes)

    def around_locations(
        self, page: Iterable[Location], also: Iterable[int] = ()
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return the jobcodes of locations (and the ones just unlinked) and their geofences."""
        rows = list(page)
        linked = sorted({each for row in rows for each in row.jobcodes} | set(also))
        fences = [row.geofence_config_id for row in rows if row.geofence_config_id]
        return {
            "jobcodes": {
                str(key): self.views.nested_jobcode(self.company.jobcodes[key]) for key in linked
            },
            "geofence_configs": {
                str(key): self.views.geofence(self.company.geofences[key]) for key in fences
            },
        }

    def locations_map(self, query: Query, user_id: int) -> Any:
        """Return links between jobcodes and locations; the removed ones only if asked for."""
        query.refuse_unknown("active", "by_jobcode_assignment")
        rows: Iterable[MapRow] = chosen(self.company.links, query.ids())
        active = query.activity()
        if active is not None:
            rows = (row for row in rows if row.active is active)
        if query.flag("by_jobcode_assignment"):
            rows = (row for row in rows if self.company.assigned(user_id, row.x_id))
        page, _ = query.page(query.modified(rows), self.company.rng)
        places = {row.location_id: self.company.locations[row.location_id] for row in page}
        extra = {"locations": {str(key): self.views.location(row) for key, row in places.items()}}
        return body(
            "locations_map",
            {str(row.id): self.views.link(row) for row in page},
            self.company.switches,
            supplemental=extra if query.supplemental() else None,
        )

    def geofence_configs(self, query: Query, user_id: int) -> Any:
        """Return a page of geofence configs, with their locations."""
        query.refuse_unknown("active", "type", "type_ids", "enabled", "by_jobcode_assignment")
        type_ids, kinds = query.ids("type_ids"), query.given.get("type", "")
        if type_ids is not None and not kinds:
            raise RequestRefusedError(417, "type is required with type_ids")
        active, enabled = query.activity(), query.flag("enabled")
        rows = [
            row
            for row in chosen(self.company.geofences, query.ids())
            if (active is None or row.active is active)
            and (enabled is None or row.enabled is enabled)
            and (type_ids is None or row.type_id in type_ids)
            and (not kinds or {row.type, row.type.rstrip("s")} & set(kinds.split(",")))
        ]
        if query.flag("by_jobcode_assignment"):
            places = self.company.locations
            rows = [row for row in rows if self._reachable(places[row.type_id], user_id)]
        page, more = query.page(query.modified(rows), self.company.rng)
        extra = {
            "locations": {
                str(row.type_id): self.views.location(self.company.locations[row.type_id])
                for row in page
            }
        }
        return body(
            "geofence_configs",
            {str(row.id): self.views.geofence(row) for row in page},
            self.company.switches,
            more=more,
            supplemental=extra if query.supplemental() else None,
        )
