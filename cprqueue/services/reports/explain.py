"""Explain from the record alone why a job is, or is not, in QuickBooks Time.

Answers hold addresses: they are for the operator's own terminal, never for a log. Times in
sentences are in CPR_TIMEZONE.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection

from cprqueue.domain.keeps import Keep
from cprqueue.domain.models import Job, Observed
from cprqueue.domain.push_plan import Compared, differences
from cprqueue.domain.recording import desired
from cprqueue.domain.records import Event, JobRecord, Link
from cprqueue.domain.states import LinkState
from cprqueue.services import gates
from cprqueue.services.reports.overview import next_attempt_at
from cprqueue.services.reports.words import shown
from cprqueue.store import events, jobs, keeps, links
from cprqueue.store.database import Database, clock

MOST_HITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer for one job; ``differences`` is empty for a job that is not active."""

    sentence: str
    job: JobRecord
    link: Link | None
    differences: list[Compared]
    events: list[Event]
    keep: Keep | None
    timezone: str

    def as_json(self) -> dict[str, object]:
        """Return what ``explain --json`` prints."""
        job, link = self.job, self.link
        more = {"active": job.active, "recorded_at": job.recorded_at}
        return {
            "sentence": self.sentence,
            "job": {**jobs.read_back(job).as_message(), **more},
            "rule": job.rule,
            "kept": self.keep.as_json(self.timezone) if self.keep else None,
            "link": _link_json(link) if link else None,
            "differences": [asdict(row) for row in self.differences],
            "events": [
                {"at": event.at, "kind": event.kind, "text": event.text, "run_id": event.run_id}
                for event in self.events
            ],
        }


def _link_json(link: Link) -> dict[str, object]:
    fields = {name: getattr(link, name) for name in _LINK_FIELDS}
    return {**fields, "next_attempt_at": next_attempt_at(link)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A job that may be meant."""

    job_id: int
    job_number: str
    job_name: str
    street: str
    state: str


def search(db: Database, text: str) -> list[Hit]:
    """Find jobs by id, number, name or part of the street: at most 20."""
    with db.read() as conn:
        rows = jobs.find(conn, text, limit=MOST_HITS)
        found = [(row, links.get(conn, row.job_id)) for row in rows]
    return [_hit(row, link) for row, link in found]


def _hit(row: JobRecord, link: Link | None) -> Hit:
    pushed = link.state if link else LinkState.DUE
    return Hit(
        job_id=row.job_id,
        job_number=row.job_number,
        job_name=row.job_name,
        street=row.addr1,
        state=pushed if row.active else "inactive",
    )


def explain(db: Database, job_id: int, *, timezone: str = "UTC") -> Explanation:
    """Explain one known job."""
    with db.read() as conn:
        now = clock(conn)
        row = jobs.existing(conn, job_id)
        link = links.get(conn, job_id)
        halt = _halt(conn, timezone)
        happened = events.of_job(conn, job_id)
        keep = keeps.standing(conn, now, [job_id]).get(job_id)
    job = jobs.read_back(row)
    observed = link.observed if link else Observed()
    compared = differences(desired(job), observed) if row.active else []
    return Explanation(
        sentence=_Sentence(job, row, link, observed, halt, now, timezone, keep).text(),
        job=row,
        link=link,
        differences=compared,
        events=happened,
        keep=keep,
        timezone=timezone,
    )


_LINK_FIELDS = (
    "state",
    "jobcode_id",
    "location_id",
    "pushed_at",
    "attempts",
    "due_since",
    "next_attempt_at",
    "intent",
    "intent_at",
    "verification",
    "error_code",
    "error_reason",
)


def _halt(conn: Connection, timezone: str) -> str:
    """Return why nothing at all is pushed, or ""."""
    stopped = gates.push_stopped(conn)
    if stopped is None:
        return gates.suspension_reason(conn)
    since = shown(datetime.fromisoformat(stopped.since), timezone)
    return f"the push is stopped since {since}: {stopped.text}"


@dataclass(frozen=True, slots=True)
class _Sentence:
    """The answer in one plain sentence; ``row`` and ``link`` are the job's rows."""

    job: Job
    row: JobRecord
    link: Link | None
    observed: Observed
    halt: str
    now: datetime
    timezone: str
    keep: Keep | None

    def text(self) -> str:
        kept = f" It is {self.keep.text(self.timezone)}." if self.keep else ""
        return self._answer() + kept

    def _answer(self) -> str:
        name, link = self.job.job_number or f"RM job {self.job.job_id}", self.link
        if not self.row.active:
            return f"{name} {self._inactive()}."
        if link is None:
            return f"{name} is due: it is recorded, and its first push has yet to come."
        if link.state is LinkState.IN_SYNC:
            since = shown(link.pushed_at, self.timezone)
            where = f"in QuickBooks Time as jobcode {link.jobcode_id} {self._place()}"
            return f"{name} is {where}, in step since {since}."
        if link.state is LinkState.PARKED:
            return f"{name} is parked{self._meanwhile()}: {link.error_reason}."
        if link.state is LinkState.HELD:
            return f"{name} is held{self._meanwhile()}: {link.error_reason}."
        return f"{name} is due{self._meanwhile()}: {self._waits_for(link)}."

    def _inactive(self) -> str:
        rule, jobcode_id = self.row.rule, self.observed.jobcode_id
        because = f"because {'it ' if rule.startswith('vanished') else ''}{rule}"
        if jobcode_id is None:
            return f"is not in QuickBooks Time, {because}"
        if self.observed.active and self.keep:
            return f"is not active, {because}; its jobcode {jobcode_id} stays"
        if self.observed.active:
            return (
                f"should not be in QuickBooks Time, {because}; "
                f"its jobcode {jobcode_id} stays until the monthly prune archives it"
            )
        return f"is archived in QuickBooks Time (jobcode {jobcode_id}), {because}"

    def _place(self) -> str:
        if self.observed.location_linked:
            return f"with location {self.observed.location_id}"
        return "without a location" + (
            "" if self.job.address else ", because RM has no address for it"
        )

    def _meanwhile(self) -> str:
        if self.observed.jobcode_id is None:
            return ", and not in QuickBooks Time yet"
        return f", while jobcode {self.observed.jobcode_id} stays as it was"

    def _waits_for(self, link: Link) -> str:
        if self.halt:
            return self.halt
        if link.lease and link.lease_until and link.lease_until > self.now:
            return "a worker is pushing it right now"
        if link.due_run_id is not None:
            return f"the fetch of run {link.due_run_id} that changed it has to end first"
        last = f"last answer: {link.error_reason}; " if link.error_reason else ""
        due_at = next_attempt_at(link)
        if due_at and due_at > self.now:
            wait = (due_at - self.now).total_seconds()
            tries = f"{link.attempts} {'try' if link.attempts == 1 else 'tries'}"
            return f"{last}next try in {wait:.0f} s, after {tries}"
        return f"{last}waiting for a worker since {shown(link.due_since, self.timezone)}"
