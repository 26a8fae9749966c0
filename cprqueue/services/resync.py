"""Resync one job, in five steps that a person can read.

Each step may be run again; the result of the push stands in the link as always. What if the
process dies: before the record, nothing happened; after it, the job is due and the ordinary
push takes it up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.clients.job_list import read_job_list
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.domain.active import ActiveRules
from cprqueue.domain.mapping import read_job
from cprqueue.domain.models import Job, Json, built, name_key
from cprqueue.domain.push_plan import Compared, differences
from cprqueue.domain.recording import Sighting, desired
from cprqueue.domain.records import (
    JobRecord,
    LinkState,
    Run,
    RunKind,
    RunState,
    VerificationKind,
)
from cprqueue.errors import CprqueueError, UnreadableAnswer, UsageError
from cprqueue.services.push.batch import Item
from cprqueue.services.push.push import Push
from cprqueue.services.record import record_in
from cprqueue.store import job_changes, jobs, links, push_queue, runs
from cprqueue.store.database import Database, clock

STEPS = ("found in RestorationManager", "rule", "recorded", "compared", "done")
PATIENCE_SECONDS = 10

LIST_SECONDS = 120
"""Longest wait for RM's complete list, where it offers no single jobs: the task has 180 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a resync, and how it went."""

    step: str
    ok: bool
    text: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What a resync did for one job. ``ok`` is False where the job is not in step after it."""

    job_id: int | None
    job_number: str
    ok: bool = True
    steps: list[Step] = field(default_factory=list)
    fields: list[Compared] = field(default_factory=list)

    def step(self, text: str, *, ok: bool = True) -> None:
        """Add the next step."""
        name = STEPS[min(len(self.steps), len(STEPS) - 1)]
        self.steps.append(Step(step=name, ok=ok, text=text))
        self.ok = self.ok and ok


def reports_of(run: Run) -> list[Report]:
    """Read back the reports that stand in a resync's run."""
    found = run.detail if isinstance(run.detail, list) else []
    return [built(_report, data) for data in found]


def _report(
    steps: list[Mapping[str, Json]], fields: list[Mapping[str, Json]], **rest: Json
) -> Report:
    report = built(Report, rest)
    report.steps = [built(Step, step) for step in steps]
    report.fields = [built(Compared, row) for row in fields]
    return report


@dataclass(slots=True, kw_only=True)
class Resync:
    """Resyncs jobs with an urgent ``push``."""

    db: Database
    rm: RestorationManager
    rules: ActiveRules
    push: Push
    var_dir: Path
    list_seconds: float = LIST_SECONDS

    def request(self, job: str) -> int:
        """Put a run on record before its message is sent; return its id."""
        with self.db.begin() as conn:
            return runs.create(conn, RunKind.RESYNC, now=clock(conn), requested_by=job[:40])

    def run(self, job: str, run_id: int | None) -> list[Report]:
        """Resync the job with this id or number (all jobs that share the number).

        The reports stand in the run's detail, also when something fails or is stopped half way.
        """
        run_id = run_id or self.request(job)
        with self.db.begin() as conn:
            runs.change(conn, run_id, state=RunState.RUNNING, started_at=clock(conn))
        reports: list[Report] = []
        try:
            with logs.bound(run_id=run_id, job=job):
                for found, observed_at in self._find(job):
                    reports.append(self._one(found, observed_at))
        except CprqueueError as error:
            reports.append(_failed(job, str(error)))
        except BaseException:  # the end of the task's time, or a bug: nobody need wait for more
            reports.append(_failed(job, "stopped before its end: resync the job again"))
            self._end(run_id, reports)
            raise
        self._end(run_id, reports)
        return reports

    def _end(self, run_id: int, reports: list[Report]) -> None:
        ok = bool(reports) and all(report.ok for report in reports)
        with self.db.begin() as conn:
            runs.set_detail(conn, run_id, [asdict(report) for report in reports])
            note = None if ok else next(r.steps[-1].text for r in reports if not r.ok)
            state = RunState.DONE if ok else RunState.FAILED
            runs.change(conn, run_id, state=state, finished_at=clock(conn), note=note)

    def _find(self, text: str) -> Iterable[tuple[Job, datetime]]:
        """Yield the jobs meant by ``text`` as RM has them now. Raises UsageError without any."""
        with self.db.read() as conn:
            observed_at = clock(conn)
            ids = jobs.ids_of_number(conn, text)
            if not ids and text.strip().isdigit():
                ids = [int(text)]
        found = [read_job(item) for item in map(self.rm.get_job, ids) if item is not None]
        missing = set(ids) - {job.job_id for job in found}
        if missing or not ids:
            found += self._in_complete_list(missing, text)
        if not found:
            raise UsageError(f"RestorationManager has no job {text!r}: check the number")
        return [(job, observed_at) for job in found]

    def _in_complete_list(self, ids: set[int], text: str) -> list[Job]:
        """Look through RM's whole list; for an RM that does not offer single jobs."""
        key = name_key(text)

        def pick(path: Path) -> list[Job]:
            return [j for j in _readable(path) if j.job_id in ids or name_key(j.job_number) == key]

        with tempfile.TemporaryDirectory(dir=self.var_dir) as directory:
            path = Path(directory) / "all.json"
            seconds = self.list_seconds
            picked = self.rm.download(path, since=BEGINNING, check=pick, total_seconds=seconds)
        return list({job.job_id: job for job in picked}.values())

    def _one(self, job: Job, observed_at: datetime) -> Report:
        report = Report(job_id=job.job_id, job_number=job.job_number)
        report.step(f"{job.label}, status {job.status}, progress {job.progress or 'missing'}")
        report.step(self.rules.judge(job).rule)
        row = self._record(job, observed_at)
        newer = row.observed_at > observed_at
        said = (
            f"no: a newer fetch has recorded it: {row.rule}" if newer else "written to the database"
        )
        report.step(said)
        if not row.active:
            report.step("not compared: an inactive job is left as it is until the monthly prune")
            report.step("nothing to push")
            return report
        self._push(job, report)
        return report

    def _record(self, job: Job, observed_at: datetime) -> JobRecord:
        """Record the job, and make it due if it is active; return what is on record then.

        That may be newer than ``job``: a fetch may have asked RM after us and been quicker.
        """
        sighting = Sighting(run_id=0, complete=False, observed_at=observed_at)

        def work(conn: Connection) -> JobRecord:
            record_in(conn, self.rules, job, sighting)
            row = jobs.existing(conn, job.job_id)
            # Takes the row's lock: nothing newer gets between what was read and what is due.
            job_changes.change_as_read(conn, row, job.job_id, {"recorded_at": row.recorded_at})
            if row.active:
                digest = desired(jobs.read_back(row)).digest()
                push_queue.set_due(
                    conn, job.job_id, digest, now=clock(conn), verification=VerificationKind.FULL
                )
            return row

        return self.db.retrying(work)

    def _push(self, job: Job, report: Report) -> None:
        def compared(item: Item) -> None:
            rows = differences(item.desired, item.observed)
            report.fields = rows
            unequal = [row.field for row in rows if not row.equal]
            report.step(f"differs in {', '.join(unequal)}" if unequal else "all fields are equal")

        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not self.push.push_job(job.job_id, compared):
                if time.monotonic() > deadline or not self._is_due(job.job_id):
                    break
                time.sleep(0.2)  # another worker holds this very job and is about to end
        except CprqueueError as error:
            report.step(str(error), ok=False)
            return
        self._outcome(job, report)

    def _is_due(self, job_id: int) -> bool:
        with self.db.read() as conn:
            link = links.get(conn, job_id)
        return link is not None and link.state is LinkState.DUE

    def _outcome(self, job: Job, report: Report) -> None:
        with self.db.read() as conn:
            link = links.existing(conn, job.job_id)
        if len(report.steps) < 4:
            report.step("another worker compared it")
        if link.state is LinkState.IN_SYNC:
            report.step(
                f"in step: jobcode {link.jobcode_id}, location {link.location_id or 'none'}"
            )
        else:
            report.step(f"{link.state}: {link.error_reason or 'will be pushed soon'}", ok=False)


def _readable(path: Path) -> Iterable[Job]:
    for item in read_job_list(path):
        try:
            yield read_job(item)
        except UnreadableAnswer:
            continue  # an item without a job id is no job that anybody can ask for


def _failed(job: str, text: str) -> Report:
    report = Report(job_id=None, job_number=job)
    report.step(text, ok=False)
    return report
