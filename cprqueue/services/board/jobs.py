"""Jobs: searched, filtered, sorted, by the page or all of them for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cprqueue.domain.states import LinkState
from cprqueue.store import job_pages
from cprqueue.store.database import Database, clock
from cprqueue.store.job_pages import ACTIVE, INACTIVE, KEPT, JobRow

PAGE = 50
LAST_PAGE = 200
"""Further pages cost more and more; whoever wants row 10,001 sorts the other way or searches."""

CHUNK = 500
"""Rows of a file that are in memory at once."""

STATES = {
    "": "all",
    ACTIVE: "active",
    LinkState.IN_SYNC.value: "in step",
    LinkState.DUE.value: "due",
    LinkState.PARKED.value: "parked",
    LinkState.HELD.value: "held",
    INACTIVE: "inactive",
    KEPT: "kept",
}
"""The filters, and what people call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody asks for: ``state`` is one of STATES, ``sort`` of ``job_pages.SORTS``.

    Pages count from 1.
    """

    text: str = ""
    state: str = ""
    sort: str = "number"
    descending: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page. ``counts``: how many jobs each filter has; only where nothing is searched for."""

    question: Question
    rows: list[JobRow]
    more: bool
    counts: Mapping[str, int] = field(default_factory=dict)


def read(db: Database, question: Question) -> JobPage:
    """Read one page."""
    with db.read() as conn:
        now = clock(conn)
        rows = job_pages.page(
            conn,
            question.state,
            question.text,
            now=now,
            sort=question.sort,
            descending=question.descending,
            offset=(question.page - 1) * PAGE,
            limit=PAGE + 1,
        )
        counts = {} if question.text else job_pages.counts(conn, now=now)
    more = len(rows) > PAGE and question.page < LAST_PAGE
    return JobPage(question=question, rows=rows[:PAGE], more=more, counts=counts)


def chunks(db: Database, question: Question) -> Iterator[list[JobRow]]:
    """Yield all the jobs, by id, a few hundred at a time; between two no transaction is open."""
    job_id = -(2**62)
    while True:
        with db.read() as conn:
            rows = job_pages.after(
                conn,
                question.state,
                question.text,
                now=clock(conn),
                job_id=job_id,
                limit=CHUNK,
            )
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        job_id = rows[-1].job_id


def state_of(row: JobRow) -> str:
    """Return in one word how a job stands."""
    if not row.active:
        return "inactive"
    return STATES[row.push_state or LinkState.DUE] if row.push_state in STATES else "due"
