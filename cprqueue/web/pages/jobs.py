"""The page Jobs: search, filter, sort, turn pages; and all of it as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from tornado.iostream import StreamClosedError

from cprqueue.services.board import jobs
from cprqueue.services.board.jobs import LAST_PAGE, STATES, Question
from cprqueue.services.reports.words import cell
from cprqueue.store.job_pages import SORTS, JobRow
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Page
from cprqueue.web.query import Query

COLUMNS = {
    "number": "Number",
    "customer": "Customer",
    "street": "Street",
    "changed": "Recorded",
    "id": "RM id",
}
"""What can be sorted by, and how its column is called."""

HEAD = (
    "rm_job_id", "number", "customer", "street", "city", "state", "rule", "reason", "jobcode_id",
    "pushed_at", "recorded_at",
)  # fmt: skip
BYTE_ORDER_MARK = "\ufeff"  # without, Excel takes the file for one in Windows' own letters


def asked(query: Query) -> Question:
    """Read what somebody asks for."""
    return Question(
        text=" ".join(query.text("q").split()),
        state=query.choice("state", STATES, ""),
        sort=query.choice("sort", SORTS, "number"),
        descending=query.choice("down", ("1",), "") == "1",
        page=query.number("page", 1, least=1, most=LAST_PAGE),
    )


def links(question: Question) -> Callable[..., str]:
    """Return what makes the address of another view of the same jobs."""

    def to(path: str = "/jobs", **changed: str) -> str:
        now = {
            "q": question.text,
            "state": question.state,
            "sort": question.sort if question.sort != "number" else "",
            "down": "1" if question.descending else "",
        }
        words = {name: value for name, value in {**now, **changed}.items() if value}
        return path + (f"?{urlencode(words, quote_via=quote)}" if words else "")

    return to


class Jobs(Page):
    """One page of jobs."""

    template = "jobs.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read the page that was asked for."""
        question = asked(self.query)
        found = jobs.read(self.app.db, question)
        return {
            "found": found,
            "question": question,
            "states": STATES,
            "columns": COLUMNS,
            "to": links(question),
            "state_of": jobs.state_of,
            "last_page": LAST_PAGE,
        }


class JobsFile(Page):
    """The same jobs, all of them, for a spreadsheet; sent as they are read."""

    async def get(self, *words: str) -> None:
        """Send the file, some hundred rows at a time."""
        parts = jobs.chunks(self.app.db, asked(self.query))
        rows = await self.in_thread(next, parts, None)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="jobs.csv"')
        self.write(BYTE_ORDER_MARK + _lines([HEAD]))
        zone = ZoneInfo(self.app.settings.timezone)
        try:
            while rows is not None:
                self.write(_lines([_cells(row, zone) for row in rows]))
                await self.flush()
                rows = await self.in_thread(next, parts, None)
        except StreamClosedError:
            return  # whoever asked has gone
        self.finish()


def _lines(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(map(cell, row) for row in rows)
    return text.getvalue()


def _cells(row: JobRow, zone: ZoneInfo) -> tuple[object, ...]:
    names = (row.job_id, row.job_number, row.job_name, row.addr1, row.city)
    why = (jobs.state_of(row), row.rule, row.error_reason if row.active else None)
    return *names, *why, row.jobcode_id, _time(row.pushed_at, zone), _time(row.recorded_at, zone)


def _time(at: datetime | None, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds") if at else ""


ROUTES = [("/jobs", Jobs), (r"/jobs\.csv", JobsFile)]
NAVIGATION = Entry("Jobs", "/jobs")
