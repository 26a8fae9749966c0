"""Carry out a batch: every item by itself, its outcome keyed by its position."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cprqueue.sandbox.quickbooks_time.assignments import Assignments
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import Jobcodes
from cprqueue.sandbox.quickbooks_time.locations import Locations
from cprqueue.sandbox.quickbooks_time.query import body
from cprqueue.sandbox.quickbooks_time.refusals import (
    ItemRefusedError,
    NameExistsError,
    RequestRefusedError,
)
from cprqueue.sandbox.quickbooks_time.views import Views
from cprqueue.sandbox.wire import Request

BATCH = 50
_NO_RIGHT = "Oops! You don't have permission to manage jobcodes"
Item = dict[str, Any]
R = TypeVar("R")


def items_of(request: Request) -> list[Any]:
    """Return the items of a POST or PUT."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestRefusedError(400, "Content-Type must be application/json")
    try:
        document = json.loads(request.body)
    except ValueError:
        raise RequestRefusedError(400, "malformed JSON") from None
    items = document.get("data") if isinstance(document, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestRefusedError(417, "data must be a list of objects")
    return items


@dataclass(slots=True)
class Writes:
    """The POSTs and PUTs. Items are taken in order; a refused one stops no other."""

    company: Company
    views: Views
    jobcodes: Jobcodes
    locations: Locations
    assignments: Assignments

    def create_jobcodes(self, items: list[Any]) -> Any:
        """POST /jobcodes."""
        act = self._permitted(self.jobcodes.create)
        return self._each("jobcodes", items, act, self.views.written, "Created")

    def update_jobcodes(self, items: list[Any]) -> Any:
        """PUT /jobcodes."""
        act = self._permitted(self.jobcodes.update)
        return self._each("jobcodes", items, act, self.views.written, "Updated")

    def create_locations(self, items: list[Any]) -> Any:
        """POST /locations."""
        act = self._permitted(self.locations.create)
        return self._each("locations", items, act, self.views.location, "Created")

    def update_locations(self, items: list[Any]) -> Any:
        """PUT /locations."""
        act = self._permitted(self.locations.update)
        return self._each("locations", items, act, self.views.location, "Updated")

    def create_assignments(self, items: list[Any]) -> Any:
        """POST /jobcode_assignments."""
        act, show = self.assignments.create, self.views.assignment
        return self._each("jobcode_assignments", items, act, show, "Created")

    def _permitted(self, act: Callable[[Item], R]) -> Callable[[Item], R]:
        switches = self.company.switches
        if switches.admin or switches.manage_jobcodes:
            return act

        def refuse(item: Item) -> R:
            raise ItemRefusedError(_NO_RIGHT)

        return refuse

    def _each(
        self,
        endpoint: str,
        items: list[Any],
        act: Callable[[Item], R],
        show: Callable[[R], Item],
        word: str,
    ) -> Any:
        if len(items) > BATCH:
            raise RequestRefusedError(413)
        results = {
            str(place): self._one(item, act, show, word)
            for place, item in enumerate(items, start=1)
        }
        return body(endpoint, results, self.company.switches)

    def _one(
        self, item: Any, act: Callable[[Item], R], show: Callable[[R], Item], word: str
    ) -> Item:
        if not isinstance(item, dict):
            return _refusal(ItemRefusedError("Each item must be an object"), {})
        try:
            row = act(item)
        except NameExistsError as exists:
            return {"_status_code": 202, "_status_message": "Accepted", **exists.echo}
        except ItemRefusedError as refused:
            return _refusal(refused, self._echo(item, word))
        return {"_status_code": 200, "_status_message": word, **show(row)}

    def _echo(self, item: Item, word: str) -> Item:
        names = ["name", "user_id", "jobcode_id"]
        if word == "Updated" and self.company.switches.failed_update_echoes_id:
            names.append("id")
        return {name: item[name] for name in names if name in item}


def _refusal(refused: ItemRefusedError, echo: Item) -> Item:
    return {
        "_status_code": refused.code,
        "_status_message": "Expectation Failed",
        "_status_extra": refused.extra,
        **echo,
    }
