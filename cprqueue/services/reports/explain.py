"""Explain from the record alone why a job is, or is not, in QuickBooks Time.

Answers hold addresses: they are for the operator's own terminal, never for a log.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from cprqueue.domain.models import Job, Observed
from cprqueue.domain.push_plan import Compared, differences
from cprqueue.domain.recording import desired
from cprqueue.domain.records import Event, JobRecord, Link, LinkState
from cprqueue.services import gates
from cprqueue.store import events, jobs, links
from cprqueue.store.database import Database, clock

MOST_HITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer for one job; ``differences`` is empty where nothing is wanted."""

    sentence: str
    job: JobRecord
    link: Link | None
    differences: list[Compared]
    events: list[Event]

    def as_json(self) -> dict[str, object]:
        """Return what ``explain --json`` prints."""
        job, link = self.job, self.link
        more = {"active": job.active, "recorded_at": job.recorded_at}
        return {
            "sentence": self.sentence,
            "job": {**jobs.read_back(job).as_message(), **more},
            "rule": job.rule,
            "link": {name: getattr(link, name) for name in _LINK_FIELDS} if link else None,
            "differences": [asdict(row) for row in self.differences],
            "events": [
                {"at": event.at, "kind": event.kind, "text": event.text, "run_id": event.run_id}
                for event in self.events
            ],
        }


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


def explain(db: Database, job_id: int) -> Explanation:
    """Explain one known job."""
    with db.read() as conn:
        now = clock(conn)
        row = jobs.existing(conn, job_id)
        link = links.get(conn, job_id)
        stopped = gates.push_stopped(conn)
        happened = events.of_job(conn, job_id)
    job = jobs.read_back(row)
    observed = link.observed if link else Observed()
    compared = differences(desired(job), observed) if row.active else []
    return Explanation(
        sentence=sentence(job, row, link, observed, stopped=stopped, now=now),
        job=row,
        link=link,
        differences=compared,
        events=happened,
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


def sentence(
    job: Job,
    row: JobRecord,
    link: Link | None,
    observed: Observed,
    *,
    stopped: gates.Stopped | None,
    now: datetime,
) -> str:
    """Answer the question in one plain sentence. ``row`` and ``link`` are the job's rows."""
    name = job.job_number or f"RM job {job.job_id}"
    if not row.active:
        return _inactive(name, row.rule, observed)
    if link is None:
        return f"{name} is due: it is recorded, and its first push has yet to come."
    if link.state is LinkState.IN_SYNC:
        return (
            f"{name} is in QuickBooks Time as jobcode {link.jobcode_id} {_place(job, observed)}, "
            f"in step since {_time(link.pushed_at)}."
        )
    if link.state is LinkState.PARKED:
        return f"{name} is parked{_left(observed)}: {link.error_reason}."
    return f"{name} is due{_left(observed)}: {_waiting(link, stopped, now)}."


def _inactive(name: str, rule: str, observed: Observed) -> str:
    because = f"because {'it ' if rule.startswith('vanished') else ''}{rule}"
    if observed.jobcode_id is None:
        return f"{name} is not in QuickBooks Time, {because}."
    if observed.active:
        return (
            f"{name} should not be in QuickBooks Time, {because}; "
            f"its jobcode {observed.jobcode_id} stays until the monthly prune archives it."
        )
    return f"{name} is archived in QuickBooks Time (jobcode {observed.jobcode_id}), {because}."


def _place(job: Job, observed: Observed) -> str:
    if observed.location_linked:
        return f"with location {observed.location_id}"
    return "without a location" + ("" if job.address else ", because RM has no address for it")


def _left(observed: Observed) -> str:
    """Say what is there meanwhile."""
    if observed.jobcode_id is None:
        return ", and not in QuickBooks Time yet"
    return f", while jobcode {observed.jobcode_id} stays as it was"


def _waiting(link: Link, stopped: gates.Stopped | None, now: datetime) -> str:
    if stopped:
        return f"the push is stopped since {stopped.since[:16]}: {stopped.text}"
    if link.lease and link.lease_until and link.lease_until > now:
        return "a worker is pushing it right now"
    last = f"last answer: {link.error_reason}; " if link.error_reason else ""
    wait = (link.next_attempt_at - now).total_seconds() if link.next_attempt_at else 0
    if wait > 0:
        return f"{last}next try in {wait:.0f} s, after {link.attempts} tries"
    return f"{last}waiting for a worker since {_time(link.due_since)}"


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
