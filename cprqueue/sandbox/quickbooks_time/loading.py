"""Fill an empty company with rows as ``Account.state`` returned them, under the same ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.rows import Assignment, Jobcode, Location
from cprqueue.sandbox.quickbooks_time.values import moment

T = TypeVar("T", Jobcode, Location, Assignment)


def load(company: Company, state: Mapping[str, list[dict[str, Any]]]) -> None:
    """Take over jobcodes, locations with their links, and assignments; users stay as they are."""
    for shown in state["jobcodes"]:
        company.put_jobcode(_row(Jobcode, shown))
    for shown in state["locations"]:
        row = company.locations[shown["id"]] = _row(Location, shown)
        company.link(row, tuple(shown["linked_objects"].get("jobcodes", ())))
    for shown in state["jobcode_assignments"]:
        company.put_assignment(_row(Assignment, shown))
    company.skip_ids([row["id"] for rows in state.values() for row in rows])


def _row(kind: type[T], shown: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in shown.items() if name in names}
    times = {name: moment(shown[name]) for name in ("created", "last_modified")}
    return kind(**{**values, **times})
