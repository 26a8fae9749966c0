"""Create, change, archive and geocode locations."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cprqueue.sandbox.quickbooks_time import values
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Location
from cprqueue.sandbox.quickbooks_time.views import formatted_address

ADDRESS = ("addr1", "addr2", "city", "state", "zip", "country")
_READ: Mapping[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(ADDRESS, values.text),
    "notes": values.text,
    "active": values.boolean,
    "latitude": values.number,
    "longitude": values.number,
}
_READ_ONLY = {
    "id",
    "formatted_address",
    "place_id",
    "place_id_hash",
    "label",
    "geocoding_status",
    "created",
    "last_modified",
    "geofence_config_id",
    "linked_objects",
}


@dataclass(slots=True)
class Locations:
    """The rules of writing locations. Refusals are raised, and leave everything unchanged."""

    company: Company
    _due: list[tuple[datetime, int]] = field(default_factory=list)

    def create(self, item: dict[str, Any]) -> Location:
        """Create one location. Nothing is unique: the same item twice makes two."""
        fields = self._read(item)
        if not any(fields.get(key) for key in ADDRESS):
            raise ItemRefusedError("Oops! One or more address fields are required")
        now = self.company.now()
        row = Location(id=0, created=now, last_modified=now, **fields)
        row.label = values.text("label", item.get("label"))
        links = self._links(item, row)
        row.id = self.company.new_id()
        self.company.locations[row.id] = row
        self.company.link(row, links)
        self._schedule(row)
        return row

    def update(self, item: dict[str, Any]) -> Location:
        """Change one location: equal and missing properties are left alone."""
        row = self.company.locations.get(values.named_id(item))
        if row is None:
            code = self.company.switches.unknown_id_code
            raise ItemRefusedError("That id is not found in the database", code)
        fields = self._read(item)
        links = self._links(item, row)
        changes = {key: value for key, value in fields.items() if getattr(row, key) != value}
        relinked = links != row.jobcodes
        self._refuse_edit_of_archived(row, fields, changed=bool(changes) or relinked)
        if changes or relinked:
            self._apply(row, changes, links)
        elif self.company.switches.not_modified_moves_last_modified:
            row.last_modified = self.company.now()
        return row

    def geocode(self) -> None:
        """Give coordinates to every location whose time has come."""
        now = self.company.now()
        while self._due and self._due[0][0] <= now:
            due, location_id = heapq.heappop(self._due)
            row = self.company.locations[location_id]
            if row.geocode_due == due:
                self._locate(row, due)

    def _read(self, item: Mapping[str, Any]) -> dict[str, Any]:
        unknown = [key for key in item if key not in _READ and key not in _READ_ONLY]
        if unknown:
            raise ItemRefusedError("Invalid param(s): " + ",".join(unknown))
        return {key: _READ[key](key, value) for key, value in item.items() if key in _READ}

    def _links(self, item: Mapping[str, Any], row: Location) -> tuple[int, ...]:
        linked = item.get("linked_objects")
        if not isinstance(linked, dict) or "jobcodes" not in linked:
            return row.jobcodes
        if not isinstance(linked["jobcodes"], list):
            raise ItemRefusedError("Invalid value for linked_objects")
        ids = tuple(
            dict.fromkeys(values.whole("linked_objects", each) for each in linked["jobcodes"])
        )
        for added in ids:
            if added not in row.jobcodes:
                self._check_link(added)
        return ids

    def _check_link(self, jobcode_id: int) -> None:
        jobcode = self.company.jobcodes.get(jobcode_id)
        if jobcode is None:
            raise ItemRefusedError(f"Oops! There is no jobcode {jobcode_id} to link")
        if not jobcode.active and not self.company.switches.link_archived_accepted:
            raise ItemRefusedError(f"Oops! Jobcode {jobcode_id} is archived")

    def _refuse_edit_of_archived(
        self, row: Location, fields: Mapping[str, Any], *, changed: bool
    ) -> None:
        archives_again = not changed and fields.get("active") is False
        if row.active or fields.get("active") or archives_again:
            return
        if not self.company.switches.archived_edit_accepted:
            raise ItemRefusedError("You cannot edit a location that is archived")

    def _apply(self, row: Location, changes: Mapping[str, Any], links: tuple[int, ...]) -> None:
        self._refuse_no_address(row, changes)
        for key, value in changes.items():
            setattr(row, key, value)
        self.company.link(row, links)
        row.last_modified = self.company.now()
        if any(key in changes for key in ADDRESS):
            self._schedule(row)

    def _refuse_no_address(self, row: Location, changes: Mapping[str, Any]) -> None:
        after = replace(row, **changes)
        if not any(getattr(after, key) for key in ADDRESS):
            raise ItemRefusedError("Oops! One or more address fields are required")

    def _schedule(self, row: Location) -> None:
        row.geocoding_status = "none"
        due = row.last_modified + timedelta(seconds=self.company.switches.geocode_seconds)
        row.geocode_due = due
        heapq.heappush(self._due, (due, row.id))

    def _locate(self, row: Location, due: datetime) -> None:
        row.geocode_due = None
        found = re.match(r"\d", row.addr1.strip()) is not None
        row.geocoding_status = "complete" if found else "error"
        if found:
            digest = hashlib.md5(formatted_address(row).encode(), usedforsecurity=False)
            row.place_id_hash = digest.hexdigest()
            row.latitude = 25 + digest.digest()[0] / 11 + digest.digest()[1] / 1e4
            row.longitude = -70 - digest.digest()[2] / 6 - digest.digest()[3] / 1e4
            row.label = row.label or formatted_address(row)
        if self.company.switches.geocode_moves_last_modified:
            row.last_modified = due.replace(microsecond=0)
