"""Resync one job, in five steps that a person can read.

Each step may be run again; the result of the push stands in the link as always. What if the
process dies: before the record, nothing happened; after it, the job is due and the ordinary
push takes it up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.clients.job_list import read_job_list
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.domain.active import ActiveRules
from cprqueue.domain.mapping import read_job
from cprqueue.domain.models import Job, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_plan import differences
from cprqueue.domain.recording import Sighting, desired
from cprqueue.domain.records import JobRecord
from cprqueue.domain.states import LinkState, RunKind, RunState, VerificationKind
from cprqueue.errors import CprqueueError, DatabaseUnavailable, UnreadableAnswer, UsageError
from cprqueue.services.call_wait import TIMEOUT_SECONDS, CallWait, wait_for
from cprqueue.services.push.push import Push
from cprqueue.services.record import record_in
from cprqueue.services.resync_report import SO_FAR, Report, failed, reports_of
from cprqueue.store import events, job_changes, jobs, links, push_queue, runs, sightings
from cprqueue.store.database import Database, clock

PATIENCE_SECONDS = 10

Tell = Callable[[Report], None]
"""Called with a report after some of its steps, for whoever watches."""

LIST_SECONDS = 120
"""Longest wait for RM's complete list, where it offers no single jobs: the task has 180 s."""


@dataclass(slots=True, kw_only=True)
class Resync:
    """Resyncs jobs with an urgent ``push``."""

    db: Database
    rm: RestorationManager
    rules: ActiveRules
    push: Push
    var_dir: Path
    list_seconds: float = LIST_SECONDS

    def request(
        self, job: str, timeout_seconds: float = TIMEOUT_SECONDS, *, ordered_by: str = ""
    ) -> int:
        """Put a run on record before its message is sent; return its id.

        ``timeout_seconds``: how long somebody waits for it. ``ordered_by``: who is named in the
        history of the job. The steps that are done stand in the run's detail
        (``reports_so_far``), for whoever watches.
        """
        with self.db.begin() as conn:
            run_id = runs.create(conn, RunKind.RESYNC, requested_by=job)
            runs.set_detail(conn, run_id, {"job": job, "timeout_seconds": timeout_seconds})
            ids, now = _ids(conn, job), clock(conn)
            events.add(conn, events.ordered(ids, "resync", ordered_by, at=now, run_id=run_id))
        return run_id

    def run(self, job: str, run_id: int | None) -> list[Report]:
        """Resync the job with this id or number (all jobs that share the number).

        The reports stand in the run's detail, also when something fails or is stopped half way.
        Raises DatabaseUnavailable, and the run stays open: call it again with the same ``run_id``.
        """
        run_id = run_id or self.request(job)
        with self.db.begin() as conn:
            runs.start(conn, run_id, only_from=())
        wait = wait_for(self.db, run_id)
        reports: list[Report] = []

        def tell(report: Report) -> None:
            self._tell(run_id, [*reports, report])

        try:
            with logs.bound(run_id=run_id, job=job):
                sighting = self._asking(run_id)
                reports.extend(self._one(each, sighting, wait, tell) for each in self._find(job))
        except DatabaseUnavailable:
            raise
        except CprqueueError as error:
            reports.append(failed(job, str(error)))
        except BaseException:  # the end of the task's time, or a bug: nobody need wait for more
            reports.append(failed(job, "stopped before its end: resync the job again"))
            self._end(run_id, reports)
            raise
        self._end(run_id, reports)
        return reports

    def _tell(self, run_id: int, reports: list[Report]) -> None:
        """Note the steps so far; how long the run may take stays on record beside them."""
        found = [asdict(report) for report in reports]
        with self.db.begin() as conn:
            details = runs.existing(conn, run_id).details
            runs.progress(conn, run_id, detail={**details, SO_FAR: found})

    def _end(self, run_id: int, reports: list[Report]) -> None:
        failed = [report.steps[-1].text for report in reports if not report.ok]
        state = RunState.FAILED if failed or not reports else RunState.DONE
        detail = [asdict(report) for report in reports]
        note = failed[0] if failed else None
        with self.db.begin() as conn:
            runs.finish(conn, run_id, state, detail=detail, note=note)

    def _asking(self, run_id: int) -> Sighting:
        """Number the asking of RM that comes next, and put it on record."""

        def work(conn: Connection) -> Sighting:
            now, number = clock(conn), sightings.next_number(conn)
            runs.change(conn, run_id, observed_at=now, sighting=number)
            return Sighting(run_id=0, number=number, complete=False, observed_at=now)

        return self.db.retrying(work)

    def _find(self, text: str) -> Iterable[Job]:
        """Yield the jobs meant by ``text`` as RM has them now. Raises UsageError without any."""
        with self.db.read() as conn:
            ids = _ids(conn, text)
        found = [read_job(item) for item in map(self.rm.get_job, ids) if item is not None]
        missing = set(ids) - {job.job_id for job in found}
        if missing or not ids:
            found += self._in_complete_list(missing, text)
        if not found:
            raise UsageError(f"RestorationManager has no job {text!r}: check the number")
        return found

    def _in_complete_list(self, ids: set[int], text: str) -> list[Job]:
        """Search RM's complete list; for an RM that does not offer single jobs."""
        key = name_key(text)

        def pick(path: Path) -> list[Job]:
            return [j for j in _readable(path) if j.job_id in ids or name_key(j.job_number) == key]

        with tempfile.TemporaryDirectory(dir=self.var_dir) as directory:
            path = Path(directory) / "all.json"
            seconds = self.list_seconds
            picked = self.rm.download(path, since=BEGINNING, check=pick, total_seconds=seconds)
        return list({job.job_id: job for job in picked}.values())

    def _one(self, job: Job, sighting: Sighting, wait: CallWait, tell: Tell) -> Report:
        report = Report(job_id=job.job_id, job_number=job.job_number)
        report.step(f"{job.label}, status {job.status}, progress {job.progress or 'missing'}")
        report.step(self.rules.judge(job).rule)
        row = self._record(job, sighting)
        newer = row.sighting > sighting.number
        outcome = (
            f"no: a newer fetch has recorded it: {row.rule}" if newer else "written to the database"
        )
        report.step(outcome)
        tell(report)
        if not row.active:
            report.step("not compared: an inactive job is left as it is until the monthly prune")
            report.step("nothing to push")
            return report
        self._push(job, report, wait, tell)
        return report

    def _record(self, job: Job, sighting: Sighting) -> JobRecord:
        """Record the job, and make it due if it is active; return what is on record then.

        That may be newer than ``job``: a fetch may have asked RM after us and been quicker.
        """

        def work(conn: Connection) -> JobRecord:
            record_in(conn, self.rules, job, sighting)
            row = jobs.existing(conn, job.job_id)
            # Takes the row's lock: nothing newer gets between what was read and what is due.
            job_changes.change_as_read(conn, row, job.job_id, {"recorded_at": row.recorded_at})
            if row.active:
                digest = desired(jobs.read_back(row)).digest()
                push_queue.set_due(
                    conn,
                    job.job_id,
                    digest,
                    now=clock(conn),
                    verification=VerificationKind.REQUIRED,
                )
            return row

        return self.db.retrying(work)

    def _push(self, job: Job, report: Report, wait: CallWait, tell: Tell) -> None:
        def compare(item: Item) -> None:
            report.fields = differences(item.desired, item.observed)
            unequal = [row.field for row in report.fields if not row.equal]
            text = f"differs in {', '.join(unequal)}" if unequal else "all fields are equal"
            del report.steps[3:]
            report.step(text + wait.text)
            tell(report)

        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not wait.until_called(lambda: self.push.push_job(job.job_id, compare)):
                if time.monotonic() > deadline or not self._is_due(job.job_id):
                    break
                time.sleep(0.2)  # another worker holds this very job and is about to end
        except DatabaseUnavailable:
            raise
        except CprqueueError as error:
            report.step(str(error) + wait.text, ok=False)
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


def _ids(conn: Connection, text: str) -> list[int]:
    """Return the ids of the known jobs with this number, or the id that it is."""
    ids = jobs.ids_of_number(conn, text)
    is_id = text.strip().isdecimal() and len(text.strip()) < 19
    return ids or ([int(text)] if is_id else [])


def _readable(path: Path) -> Iterable[Job]:
    for item in read_job_list(path):
        try:
            yield read_job(item)
        except UnreadableAnswer:
            continue  # an item without a job id is no job that anybody can ask for


__all__ = ["LIST_SECONDS", "Report", "Resync", "reports_of"]
