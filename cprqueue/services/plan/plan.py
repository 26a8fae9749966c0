"""Make a plan: read RestorationManager and QuickBooks Time, and write nothing but call slots.

RM's answer is in a temporary file while it is read. If the process dies, nothing is left undone.
Run while workers push, it may show as still to be done what has just been done: the record is
read before the account.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cprqueue.clients.budget import Budget
from cprqueue.clients.listings import everything
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Job, Verdict
from cprqueue.domain.push_brake import PushLimits, tripped
from cprqueue.domain.push_model import Model, model_of
from cprqueue.domain.recording import Sighting
from cprqueue.domain.sync_plan import SyncPlan, make_plan
from cprqueue.services import gates, push_brake
from cprqueue.services.fetch.survey import Survey, each_last, require_jobs, survey_file
from cprqueue.services.fetch.unread import describe
from cprqueue.services.plan.read import read_known
from cprqueue.services.reports.words import counted
from cprqueue.store.database import Database, clock

LATER = 2**62
"""The id of the fetch that the plan stands for: newer than any run on record."""

SECONDS_A_CALL = 0.5
"""About as long takes a call, with what lies between it and the next."""

PAUSE_SECONDS = 1.0

Report = Callable[[str], None]
"""Called with what is being done, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A plan, and what to know of it. ``seconds``: about so long the push takes.

    ``notes``: why nothing would be pushed now, and what of the answer could not be read.
    ``held``: by the brake on pushes.
    """

    plan: SyncPlan
    seconds: int
    notes: tuple[str, ...]
    held: bool = False

    @property
    def calls(self) -> int:
        """How many calls to QuickBooks Time the push takes."""
        return sum(self.plan.calls.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Makes plans. ``client`` builds one that calls the given pause while no call is free."""

    db: Database
    rm: RestorationManager
    client: Callable[[Callable[[float], None]], QuickBooksTime]
    rules: ActiveRules
    budget: Budget
    limits: PushLimits
    timezone: str

    def make(self, report: Report) -> Made:
        """Read all that there is, and plan. Raises the clients' errors, UnreadableAnswer too."""
        with self.db.read() as conn:
            now, braked = clock(conn), push_brake.applies(conn)
        sighting = Sighting(
            run_id=LATER, number=LATER, complete=True, observed_at=now, braked=braked
        )
        report("reading RestorationManager")
        jobs, survey = self._read_jobs(report)
        with self.db.read() as conn:
            known, closed = read_known(conn, self.timezone), gates.closed_because(conn)
        account = self._read_account(report)
        report("planning")
        plan = make_plan(jobs, known, account, sighting, unread=survey.unread)
        brake = tripped(plan.tally, plan.managed, self.limits)
        held = f"the brake would hold it for an approval: it would {brake}" if brake else ""
        notes = tuple(filter(None, (held, closed, describe(survey.unread))))
        return Made(plan=plan, seconds=self._seconds(plan), notes=notes, held=bool(brake))

    def _read_jobs(self, report: Report) -> tuple[list[tuple[Job, Verdict]], Survey]:
        def loaded(so_far: int) -> None:
            report(f"reading RestorationManager: {so_far / 1e6:.1f} MB")

        def check(part: Path) -> Survey:
            survey = survey_file(part)
            require_jobs(survey, complete=True)
            return survey

        with TemporaryDirectory(prefix="cprqueue-plan-") as directory:
            path = Path(directory) / "jobs.json"
            survey = self.rm.download(path, since=BEGINNING, check=check, alive=loaded)
            return [(job, self.rules.judge(job)) for job in each_last(path, survey)], survey

    def _read_account(self, report: Report) -> Model:
        pages = 0

        def page() -> None:
            nonlocal pages
            pages += 1
            report(f"reading QuickBooks Time: {counted(pages, 'page')}")

        codes, places = everything(self.client(_pausing(report)), page)
        return model_of(codes, places)

    def _seconds(self, plan: SyncPlan) -> int:
        calls = sum(plan.calls.values())
        with self.db.read() as conn:
            free = self.budget.free(conn, urgent=False)
        windows = math.ceil(max(0, calls - free) / (self.budget.limit - self.budget.reserve or 1))
        return round(windows * self.budget.window_ms / 1000 + calls * SECONDS_A_CALL)


def _pausing(report: Report) -> Callable[[float], None]:
    def pause(seconds: float) -> None:
        report(f"waiting for a free call: the next in {seconds:.0f} s")
        time.sleep(min(max(seconds, 0.05), PAUSE_SECONDS))  # until a call is free again

    return pause
