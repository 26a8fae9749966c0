"""Carry out a batch: every item by itself, its outcome keyed by its position."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cprqueue.sandbox.quickbooks_time.assignments import Assignments
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import Jobcodes
from cprqueue.sandbox.quickbooks_time.listings import Listings
from cprqueue.sandbox.quickbooks_time.locations import Locations
from cprqueue.sandbox.quickbooks_time.query import body
from cprqueue.sandbox.quickbooks_time.refusals import (
    ItemRefusedError,
    NameExistsError,
    RequestRefusedError,
)
from cprqueue.sandbox.quickbooks_time.rows import Assignment, Jobcode, Location
from cprqueue.sandbox.quickbooks_time.switches import Switches
from cprqueue.sandbox.quickbooks_time.views import Views
from cprqueue.sandbox.wire import Request

BATCH = 50
_NO_RIGHT = "Oops! You don't have permission to manage jobcodes"
Item = dict[str, Any]
R = TypeVar("R")


def items_of(request: Request, switches: Switches) -> list[Any]:
    """Return the items of a POST or PUT."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if switches.content_type_required and kind != "application/json":
        raise RequestRefusedError(400, "Content-Type must be application/json")
    try:
        document = json.loads(request.body)
    except ValueError:
        raise RequestRefusedError(switches.malformed_json_status, "malformed JSON") from None
    items = document.get("data") if isinstance(document, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestRefusedError(switches.missing_data_status, "data must be a list of objects")
    return items


@dataclass(slots=True)
class Writes:
    """The POSTs, PUTs and DELETEs. Items are taken in order; a refused one stops no other."""

    company: Company
    views: Views
    jobcodes: Jobcodes
    locations: Locations
    assignments: Assignments
    listings: Listings

    def create_jobcodes(self, items: list[Any]) -> Any:
        """POST /jobcodes."""
        return self._jobcodes(items, self.jobcodes.create, "Created")

    def update_jobcodes(self, items: list[Any]) -> Any:
        """PUT /jobcodes."""
        return self._jobcodes(items, self.jobcodes.update, "Updated")

    def _jobcodes(self, items: list[Any], act: Callable[[Item], Jobcode], word: str) -> Any:
        done: list[Jobcode] = []
        results = self._each(items, self._permitted(act), self.views.written, word, done)
        parents = {row.parent_id: self.company.jobcodes.get(row.parent_id) for row in done}
        extra = {str(key): self.views.written(row) for key, row in parents.items() if row}
        return body("jobcodes", results, self.company.switches, supplemental={"jobcodes": extra})

    def create_locations(self, items: list[Any]) -> Any:
        """POST /locations."""
        return self._locations(items, self.locations.create, "Created")

    def update_locations(self, items: list[Any]) -> Any:
        """PUT /locations."""
        return self._locations(items, self.locations.update, "Updated")

    def _locations(self, items: list[Any], act: Callable[[Item], Location], word: str) -> Any:
        done: list[Location] = []
        before: set[int] = set()

        def noting(item: Item) -> Location:
            row = self.company.locations.get(_id_of(item))
            linked = row.jobcodes if row else ()
            result = act(item)
            before.update(linked)
            return result

        results = self._each(items, self._permitted(noting), self.views.location, word, done)
        extra = self.listings.around_locations(done, before)
        return body("locations", results, self.company.switches, supplemental=extra)

    def create_assignments(self, items: list[Any]) -> Any:
        """POST /jobcode_assignments."""
        done: list[Assignment] = []
        results = self._each(
            items, self.assignments.create, self._written_assignment, "Created", done
        )
        extra = self.assignments.around(done)
        return body("jobcode_assignments", results, self.company.switches, supplemental=extra)

    def _written_assignment(self, row: Assignment) -> Item:
        shown = self.views.assignment(row)
        if self.company.switches.assignment_ids_as_text:
            shown |= {key: str(shown[key]) for key in ("user_id", "jobcode_id")}
        return shown

    def delete_assignments(self, query: Mapping[str, str]) -> Any:
        """DELETE /jobcode_assignments: outcomes are keyed by id; without ids nothing happens."""
        words = [word.strip() for word in query.get("ids", "").split(",") if word.strip()]
        if len(words) > BATCH:
            raise RequestRefusedError(413)
        results = {word: self._delete_assignment(word) for word in words}
        return body("jobcode_assignments", results, self.company.switches)

    def _delete_assignment(self, word: str) -> Item:
        try:
            self.assignments.delete(int(word) if word.isdigit() else 0)
        except ItemRefusedError as refused:
            return _refusal(refused, "Expectation Failed!", {"id": word})
        return {"_status_code": 200, "_status_message": "OK, deleted", "id": int(word)}

    def _permitted(self, act: Callable[[Item], R]) -> Callable[[Item], R]:
        switches = self.company.switches
        if switches.admin or switches.manage_jobcodes:
            return act

        def refuse(item: Item) -> R:
            raise ItemRefusedError(_NO_RIGHT)

        return refuse

    def _each(
        self,
        items: list[Any],
        act: Callable[[Item], R],
        show: Callable[[R], Item],
        word: str,
        done: list[R],
    ) -> dict[str, Item]:
        oversized = len(items) > BATCH
        if oversized and not self.company.switches.oversized_applies_first:
            raise RequestRefusedError(413)
        results = {
            str(place): self._one(item, act, show, word, done)
            for place, item in enumerate(items[:BATCH], start=1)
        }
        if oversized:
            raise RequestRefusedError(413)
        return results

    def _one(
        self,
        item: Any,
        act: Callable[[Item], R],
        show: Callable[[R], Item],
        word: str,
        done: list[R],
    ) -> Item:
        if not isinstance(item, dict):
            return _refusal(ItemRefusedError("Each item must be an object"))
        try:
            row = act(item)
        except NameExistsError as exists:
            return {"_status_code": 202, "_status_message": "Accepted", **exists.echo}
        except ItemRefusedError as refused:
            return _refusal(refused, echo=self._echo(item, word))
        done.append(row)
        return {"_status_code": 200, "_status_message": word, **show(row)}

    def _echo(self, item: Item, word: str) -> Item:
        names = ["name", "user_id", "jobcode_id"]
        if word == "Updated" and self.company.switches.failed_update_echoes_id:
            names.append("id")
        return {name: item[name] for name in names if name in item}


def _refusal(
    refused: ItemRefusedError, message: str = "Expectation Failed", echo: Item | None = None
) -> Item:
    return {
        "_status_code": refused.code,
        "_status_message": message,
        "_status_extra": refused.extra,
        **(echo or {}),
    }


def _id_of(item: Item) -> int:
    raw = str(item.get("id", ""))
    return int(raw) if raw.isdigit() else 0
