"""Who may record time on what: jobcode assignments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time import values
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES, Jobcodes
from cprqueue.sandbox.quickbooks_time.query import Query
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Assignment, Jobcode
from cprqueue.sandbox.quickbooks_time.views import Views


@dataclass(slots=True)
class Assignments:
    """Lists and makes assignments; user 0 stands for everybody."""

    company: Company
    views: Views
    jobcodes: Jobcodes

    def listing(self, query: Query) -> Any:
        """Return a page of assignments, the removed ones too unless told otherwise."""
        query.refuse_unknown("type", "jobcode_id", "active")
        kind, wanted = query.choice("type", "regular", "all", *TYPES), query.ids("jobcode_id")
        active, jobcodes = query.activity("both"), self.company.jobcodes
        rows = (
            row
            for row in query.chosen(self.company.assignments)
            if active in (None, row.active)
            and kind in ("all", jobcodes[row.jobcode_id].type)
            and (wanted is None or row.jobcode_id in wanted)
        )
        return query.listing("jobcode_assignments", rows, self.views.assignment, self.company.rng)

    def create(self, item: dict[str, Any]) -> Assignment:
        """Assign one jobcode, and those below it; an existing assignment is returned again."""
        for name in ("user_id", "jobcode_id"):
            if item.get(name) in (None, ""):
                raise ItemRefusedError(f"Missing param: {name}")
        user_id = values.whole("user_id", item["user_id"])
        jobcode_id = values.whole("jobcode_id", item["jobcode_id"])
        allowed = self.company.switches.admin or self.company.switches.manage_users
        if not allowed or (user_id and user_id not in self.company.users):
            raise ItemRefusedError("Oops! You don't have permission to manage that user")
        jobcode = self.company.jobcodes.get(jobcode_id)
        if jobcode is None or not jobcode.active:
            raise ItemRefusedError("Oops! That jobcode does not exist or is archived")
        for each in [jobcode, *self.company.descendants(jobcode_id)]:
            if each.active:
                self._assign(user_id, each)
        return self.company.assign(user_id, jobcode_id)

    def _assign(self, user_id: int, jobcode: Jobcode) -> None:
        self.company.assign(user_id, jobcode.id)
        if user_id == 0 and not jobcode.assigned_to_all:
            self.jobcodes.set_assigned_to_all(jobcode, to=True)
            jobcode.last_modified = self.company.now()
