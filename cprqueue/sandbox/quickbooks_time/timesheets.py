"""Timesheets: listed by the API, clocked in and out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import TYPES
from cprqueue.sandbox.quickbooks_time.query import Query, body, chosen
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Timesheet, User
from cprqueue.sandbox.quickbooks_time.views import Views

_RANGE = ("ids", "start_date", "modified_since", "modified_before")


@dataclass(slots=True)
class Timesheets:
    """Lists timesheets and keeps the clock of each user."""

    company: Company
    views: Views

    def listing(self, query: Query, user_id: int) -> Any:
        """Return a page of timesheets: of those off the clock unless told otherwise."""
        query.refuse_unknown(
            "start_date", "end_date", "jobcode_ids", "jobcode_type", "payroll_ids", "user_ids",
            "group_ids", "on_the_clock",
        )  # fmt: skip
        if self.company.switches.timesheets_need_range and not set(_RANGE) & set(query.given):
            raise RequestRefusedError(417, "Problem getting timesheets: " + ", ".join(_RANGE))
        rows = self._of_people(query, self._in_time(query, self._on_jobcodes(query)))
        page, more = query.page(query.modified(rows), self.company.rng)
        shown = {str(row.id): self.views.timesheet(row) for row in page}
        extra = self._around(page) if query.supplemental() else None
        switches = self.company.switches
        return body("timesheets", shown, switches, more=more, supplemental=extra)

    def _on_jobcodes(self, query: Query) -> Iterable[Timesheet]:
        rows = chosen(self.company.timesheets, query.ids())
        wanted, kind = query.ids("jobcode_ids"), query.choice("jobcode_type", "all", *TYPES)
        if kind != "all":
            rows = [row for row in rows if self.company.jobcodes[row.jobcode_id].type == kind]
        if wanted is None:
            return rows
        below = {each.id for top in wanted for each in self.company.descendants(top)}
        return [row for row in rows if row.jobcode_id in below | set(wanted)]

    def _in_time(self, query: Query, rows: Iterable[Timesheet]) -> Iterable[Timesheet]:
        first, last = _day(query, "start_date"), _day(query, "end_date")
        clock = query.choice("on_the_clock", "no", "yes", "both")
        return (
            row
            for row in rows
            if (clock == "both" or (row.end is None) == (clock == "yes"))
            and (first is None or row.start.date() >= first)
            and (last is None or row.start.date() <= last)
        )

    def _of_people(self, query: Query, rows: Iterable[Timesheet]) -> Iterable[Timesheet]:
        users, groups = query.ids("user_ids"), query.ids("group_ids")
        payroll = query.given.get("payroll_ids", "")
        people = self.company.users
        return (
            row
            for row in rows
            if (users is None or row.user_id in users)
            and (groups is None or people[row.user_id].group_id in groups)
            and (not payroll or people[row.user_id].payroll_id in payroll.split(","))
        )

    def _around(self, page: Iterable[Timesheet]) -> Mapping[str, Mapping[str, Any]]:
        rows = list(page)
        people: dict[int, User] = {row.user_id: self.company.users[row.user_id] for row in rows}
        jobs = {row.jobcode_id: self.company.jobcodes[row.jobcode_id] for row in rows}
        return {
            "users": {str(key): self.views.user(row) for key, row in people.items()},
            "jobcodes": {str(key): self.views.jobcode(row) for key, row in jobs.items()},
        }

    def clock_in(self, jobcode_id: int, user_id: int) -> Timesheet:
        """Start a timesheet; a user who was on the clock elsewhere leaves that jobcode."""
        jobcode = self.company.jobcodes.get(jobcode_id)
        if jobcode is None or user_id not in self.company.users:
            raise ValueError(f"no jobcode {jobcode_id} or no user {user_id}")
        for row in self.company.timesheets.values():
            if row.user_id == user_id and row.end is None:
                self.clock_out(row.id)
        now = self.company.touch("timesheets")
        row = Timesheet(
            id=self.company.new_id(),
            user_id=user_id,
            jobcode_id=jobcode_id,
            start=now,
            created=now,
            last_modified=now,
        )
        self.company.timesheets[row.id] = row
        return row

    def clock_out(self, timesheet_id: int) -> None:
        """End a timesheet; ending it twice changes nothing."""
        row = self.company.timesheets.get(timesheet_id)
        if row is None:
            raise ValueError(f"no timesheet {timesheet_id}")
        if row.end is None:
            row.end = row.last_modified = self.company.touch("timesheets")


def _day(query: Query, name: str) -> date | None:
    raw = query.given.get(name, "")
    try:
        return date.fromisoformat(raw) if raw else None
    except ValueError:
        raise RequestRefusedError(417, f"Invalid date for {name}: {raw!r}") from None
