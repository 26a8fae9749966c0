"""Timesheets: listed by the API, clocked in and out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.query import Query
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import Timesheet
from cprqueue.sandbox.quickbooks_time.views import Views

_RANGE = ("ids", "start_date", "modified_since")


@dataclass(slots=True)
class Timesheets:
    """Lists timesheets and keeps the clock of each user."""

    company: Company
    views: Views

    def listing(self, query: Query) -> Any:
        """Return a page of timesheets: those off the clock by default."""
        query.refuse_unknown("start_date", "end_date", "jobcode_ids", "on_the_clock")
        if not set(_RANGE) & set(query.given):
            raise RequestRefusedError(417, "Problem getting timesheets: " + ", ".join(_RANGE))
        first, last = _day(query, "start_date"), _day(query, "end_date")
        clock = query.choice("on_the_clock", "no", "yes", "both")
        rows = (
            row
            for row in self._on_jobcodes(query)
            if (clock == "both" or (row.end is None) == (clock == "yes"))
            and (first is None or row.counts_for >= first)
            and (last is None or row.counts_for <= last)
        )
        return query.listing("timesheets", rows, self.views.timesheet, self.company.rng)

    def _on_jobcodes(self, query: Query) -> Iterable[Timesheet]:
        rows, ids = query.chosen(self.company.timesheets), query.ids("jobcode_ids")
        if ids is None:
            return rows
        below = {each.id for top in ids for each in self.company.descendants(top)}
        return [row for row in rows if row.jobcode_id in below | set(ids)]

    def clock_in(self, jobcode_id: int, user_id: int) -> Timesheet:
        """Start a timesheet; a user who was on the clock elsewhere leaves that jobcode."""
        self._require(jobcode_id, user_id)
        for row in self.company.timesheets.values():
            if row.user_id == user_id and row.end is None:
                self.clock_out(row.id)
        return self._add(jobcode_id, user_id, self.company.now())

    def book(self, jobcode_id: int, user_id: int, day: date, hours: float) -> Timesheet:
        """Book the hours of a day by hand."""
        self._require(jobcode_id, user_id)
        row = self._add(jobcode_id, user_id, datetime.combine(day, time(), UTC))
        row.day, row.end = day, row.start + timedelta(hours=hours)
        return row

    def _require(self, jobcode_id: int, user_id: int) -> None:
        if jobcode_id not in self.company.jobcodes or user_id not in self.company.users:
            raise ValueError(f"no jobcode {jobcode_id} or no user {user_id}")

    def _add(self, jobcode_id: int, user_id: int, start: datetime) -> Timesheet:
        now = self.company.now()
        row = Timesheet(
            id=self.company.new_id(),
            user_id=user_id,
            jobcode_id=jobcode_id,
            start=start,
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
            row.end = row.last_modified = self.company.now()


def _day(query: Query, name: str) -> date | None:
    raw = query.given.get(name, "")
    try:
        return date.fromisoformat(raw) if raw else None
    except ValueError:
        raise RequestRefusedError(417, f"Invalid date for {name}: {raw!r}") from None
