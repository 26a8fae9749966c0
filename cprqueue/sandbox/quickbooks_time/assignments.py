"""Who may record time on what: jobcode assignments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time import values
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES, Jobcodes
from cprqueue.sandbox.quickbooks_time.query import Query, body, chosen
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Assignment
from cprqueue.sandbox.quickbooks_time.views import Views


@dataclass(slots=True)
class Assignments:
    """Lists, makes and removes assignments; user 0 stands for everybody."""

    company: Company
    views: Views
    jobcodes: Jobcodes

    def listing(self, query: Query, user_id: int) -> Any:
        """Return a page of assignments, the removed ones too unless told otherwise."""
        query.refuse_unknown(
            "user_ids", "type", "jobcode_id", "jobcode_parent_id", "active", "active_jobcodes"
        )
        rows = query.modified(self._on_jobcodes(query, self._of_users(query, user_id)))
        page, more = query.page(rows, self.company.rng)
        shown = {str(row.id): self.views.assignment(row) for row in page}
        extra = self.around(page) if query.supplemental() else None
        switches = self.company.switches
        return body("jobcode_assignments", shown, switches, more=more, supplemental=extra)

    def _of_users(self, query: Query, own_id: int) -> Iterable[Assignment]:
        rows = chosen(self.company.assignments, query.ids())
        jobcode_id = query.ids("jobcode_id")
        if jobcode_id and query.ids() is None:
            rows = sorted(self.company.assignments_on(jobcode_id[0]), key=lambda row: row.id)
        active, users = query.activity("both"), query.ids("user_ids")
        if active is not None:
            rows = (row for row in rows if row.active is active)
        if users is None:
            return rows
        if self.company.switches.user_ids_bug and own_id in users:
            users = [own_id]
        wanted = {0, *users}
        return (row for row in rows if row.user_id in wanted)

    def _on_jobcodes(self, query: Query, rows: Iterable[Assignment]) -> Iterable[Assignment]:
        table = self.company.jobcodes
        kind = query.choice("type", "regular", "all", *TYPES)
        jobcode, parent = query.ids("jobcode_id"), query.ids("jobcode_parent_id")
        active = query.activity("both", "active_jobcodes")
        return (
            row
            for row in rows
            if (kind == "all" or table[row.jobcode_id].type == kind)
            and (jobcode is None or row.jobcode_id == jobcode[0])
            and (parent is None or table[row.jobcode_id].parent_id == parent[0])
            and (active is None or table[row.jobcode_id].active is active)
        )

    def around(self, page: Iterable[Assignment]) -> Mapping[str, Mapping[str, Any]]:
        """Return the users and jobcodes of assignments."""
        rows = list(page)
        people = sorted({row.user_id for row in rows} & set(self.company.users))
        jobs = sorted({row.jobcode_id for row in rows})
        return {
            "users": {str(key): self.views.user(self.company.users[key]) for key in people},
            "jobcodes": {str(key): self.views.jobcode(self.company.jobcodes[key]) for key in jobs},
        }

    def create(self, item: dict[str, Any]) -> Assignment:
        """Assign one jobcode, and those below it; an existing assignment is returned again."""
        for name in ("user_id", "jobcode_id"):
            if item.get(name) in (None, ""):
                raise ItemRefusedError(f"Missing param: {name}")
        user_id = values.whole("user_id", item["user_id"])
        jobcode_id = values.whole("jobcode_id", item["jobcode_id"])
        self._refuse_no_right("Oops! You don't have permission to manage that user")
        if user_id and user_id not in self.company.users:
            raise ItemRefusedError("Oops! You don't have permission to manage that user")
        jobcode = self.company.jobcodes.get(jobcode_id)
        if jobcode is None or not jobcode.active:
            raise ItemRefusedError("Oops! That jobcode does not exist or is archived")
        for each in [jobcode, *self.company.descendants(jobcode_id)]:
            if each.active:
                self._assign(user_id, each.id)
        return self.company.assign(user_id, jobcode_id)

    def _assign(self, user_id: int, jobcode_id: int) -> None:
        self.company.assign(user_id, jobcode_id)
        if user_id == 0:
            self._flag(jobcode_id, to=True)

    def delete(self, assignment_id: int) -> None:
        """Remove one assignment."""
        row = self.company.assignments.get(assignment_id)
        if row is None:
            raise ItemRefusedError("That id is not found in the database")
        self._refuse_no_right("Oops! You don't have permission to remove jobcodes for that user.")
        self.company.unassign(row)
        if row.user_id == 0:
            self._flag(row.jobcode_id, to=False)

    def _flag(self, jobcode_id: int, *, to: bool) -> None:
        jobcode = self.company.jobcodes[jobcode_id]
        if jobcode.assigned_to_all != to:
            self.jobcodes.set_assigned_to_all(jobcode, to=to)
            jobcode.last_modified = self.company.touch("jobcodes")

    def _refuse_no_right(self, words: str) -> None:
        if not (self.company.switches.admin or self.company.switches.manage_users):
            raise ItemRefusedError(words)
