"""One job: what RestorationManager says, what QuickBooks Time holds, why, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass

from cprqueue.domain.models import Observed
from cprqueue.domain.push_plan import Compared
from cprqueue.domain.records import Link, Run
from cprqueue.domain.states import LinkState, RunKind
from cprqueue.errors import UsageError
from cprqueue.services.reports import explain as explaining
from cprqueue.services.reports.explain import Explanation
from cprqueue.services.resync_report import Report, reports_so_far
from cprqueue.store import jobs, namesakes, runs
from cprqueue.store.database import Database

BIGGEST_ID = 2**63 - 1
MOST_NAMESAKES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field side by side; ``differs`` is None where the two are not to be compared."""

    name: str
    wanted: str
    held: str
    differs: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A resync that was ordered for this job: how far it is."""

    run: Run
    reports: list[Report]
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """All that the page of one job shows. ``namesakes``: other jobs with the same number."""

    found: Explanation
    fields: list[Field]
    namesakes: list[int]
    progress: Progress | None

    @property
    def sentence(self) -> str:
        """The answer; of a held job without the commands that decide, which are buttons here."""
        link, text = self.found.link, self.found.sentence
        held = link is not None and link.state is LinkState.HELD
        return text.partition(": `cprqueue")[0] if held else text

    @property
    def may_retry(self) -> bool:
        """True for a job that is parked, or waits for another try."""
        link = self.found.link
        states = (LinkState.PARKED, LinkState.DUE)
        return link is not None and link.state in states and link.due_run_id is None


def read(db: Database, job_id: int, *, timezone: str, run_id: int | None = None) -> JobView | None:
    """Read one job; None for one that is not known. ``run_id``: a resync of it to watch."""
    if not 0 <= job_id <= BIGGEST_ID:
        return None
    with db.read() as conn:
        row = jobs.get(conn, job_id)
        if row is None:
            return None
        others = namesakes.with_number(conn, row.job_number, limit=MOST_NAMESAKES + 1)
        run = runs.get(conn, run_id) if run_id is not None else None
    found = explaining.explain(db, job_id, timezone=timezone)
    return JobView(
        found=found,
        fields=side_by_side(found),
        namesakes=[other for other in others if other != job_id][:MOST_NAMESAKES],
        progress=_progress(run, found),
    )


def side_by_side(found: Explanation) -> list[Field]:
    """Return what is wanted and what is held, a field each."""
    observed = found.link.observed if found.link else Observed()
    if not found.job.active:
        return _inactive(found, observed)
    return [_field(row, known=observed.jobcode_id is not None) for row in found.differences]


def _field(row: Compared, *, known: bool) -> Field:
    return Field(
        name=row.field,
        wanted=row.desired,
        held=row.observed if known else "",
        differs=not row.equal if known else None,
    )


def _inactive(found: Explanation, observed: Observed) -> list[Field]:
    """An inactive job: QuickBooks Time should hold no active jobcode of it; kept ones may stay."""
    job, there = found.job, observed.jobcode_id is not None
    active = "yes" if observed.active else "no"
    names = ("addr1", "addr2", "city", "state", "zip")
    held = observed.address.as_dict() if there else dict.fromkeys(names, "")
    rows = [
        ("name", job.job_number, observed.name),
        *((n, getattr(job, n), held[n]) for n in names),
    ]
    wanted = "yes" if found.keep else "no"
    first = Field(
        name="active",
        wanted=wanted,
        held=active if there else "",
        differs=(active != wanted and not found.keep) if there else None,
    )
    return [first, *(Field(name=n, wanted=w, held=h, differs=None) for n, w, h in rows)]


def _progress(run: Run | None, found: Explanation) -> Progress | None:
    """Return how far the resync is, if it is one of this job."""
    if run is None or run.kind is not RunKind.RESYNC:
        return None
    job, reports = found.job, reports_so_far(run)
    own = [report for report in reports if report.job_id == job.job_id]
    ordered = run.requested_by in (resync_word(job.job_id, job.job_number)[:40], str(job.job_id))
    if not own and not ordered:
        return None
    return Progress(run=run, reports=own or reports, ended=run.state in runs.ENDED)


def word_for(db: Database, job_id: int) -> str:
    """Return ``resync_word`` of a known job. Raises UsageError for an unknown one."""
    with db.read() as conn:
        row = jobs.get(conn, job_id)
    if row is None:
        raise UsageError(f"RM job {job_id} is not known: look for it in Jobs")
    return resync_word(row.job_id, row.job_number)


def resync_word(job_id: int, job_number: str) -> str:
    """Return the word by which a resync finds this job: a number comes before an id."""
    return job_number.strip() or str(job_id)


def state_word(link: Link | None, *, active: bool) -> str:
    """Return in one word how a job stands."""
    if not active:
        return "inactive"
    return (
        "in step" if link and link.state is LinkState.IN_SYNC else (link.state if link else "due")
    )
