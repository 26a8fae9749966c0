"""The pages Plans: what waits for a decision, what was decided, and one plan."""

from __future__ import annotations

from collections.abc import Mapping

from cprqueue.errors import DatabaseUnavailable, ServiceUnreachable
from cprqueue.operating import orders, send
from cprqueue.services.board import plans
from cprqueue.services.board.plans import Plan
from cprqueue.services.prune import turns
from cprqueue.services.push_brake import FETCHES
from cprqueue.services.reports.words import counted
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Act, Done, Page
from cprqueue.web.problems import Problem

LIVE_STATES = ("queued", "running", "recording", "approved", "stopping")


class Plans(Page):
    """What waits, and what is past."""

    template = "plans.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it, the past from a run on where that is asked for."""
        before = self.query.number("before", 0)
        found = plans.read_all(self.app.db, before=before or None)
        live = turns.title(found.live) if found.live else ""
        return {"found": found, "first": not before, "live_title": live}


class OnePlan(Page):
    """One plan."""

    template = "plan.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it."""
        plan = _plan(self, words[0])
        return {"plan": plan, "moves": plan.run.state in LIVE_STATES}


def _plan(page: Page, word: str) -> Plan:
    found = plans.read(page.app.db, int(word))
    if found is None:
        raise Problem(404, f"Run {int(word)} has no plan: look for it in Runs.")
    return found


class Approve(Act):
    """The button "Approve"."""

    def act(self, *words: str) -> Done:
        """Approve a held push or prune."""
        run_id, plan = int(words[0]), _plan(self, words[0])
        if plan.run.kind in FETCHES:
            text = self._approve_push(run_id)
        else:
            send.require_workers(["maintenance"])
            orders.approve_prune(self.app, run_id, by=self.by)
            text = "Approved: a worker takes a snapshot, then archives what both plans hold."
        return Done(to=f"/plans/{run_id}", text=text)

    def _approve_push(self, run_id: int) -> str:
        try:
            ids = orders.approve_push(self.app, run_id, by=self.by)
        except DatabaseUnavailable:
            raise
        except ServiceUnreachable as error:  # what is due is on record: the sweep sees to it
            return f"Approved; it is pushed once this has passed: {error}"
        return f"Approved: {counted(len(ids), 'job')} due now."


class Dismiss(Act):
    """The button "Dismiss"."""

    def act(self, *words: str) -> Done:
        """Dismiss a held push or prune: QuickBooks Time stays as it is."""
        run_id, plan = int(words[0]), _plan(self, words[0])
        if plan.run.kind in FETCHES:
            ids = orders.dismiss_push(self.app, run_id, by=self.by)
            text = f"Dismissed: {counted(len(ids), 'job')} parked until a job changes again."
            return Done(to=f"/plans/{run_id}", text=text)
        if "dismiss" not in plan.may:
            raise Problem(409, f"Run {run_id} is {plan.run.state}: only a held plan is dismissed.")
        orders.undo(self.app, run_id, by=self.by)
        return Done(to=f"/plans/{run_id}", text="Dismissed: nothing of it is archived.")


class Undo(Act):
    """The button "Undo"."""

    def act(self, *words: str) -> Done:
        """Restore what a plan has archived."""
        keep = self.form.choice("keep", ("1",), "") == "1"
        undo_id = orders.undo(self.app, int(words[0]), by=self.by, keep=keep)
        return Done(to=f"/plans/{undo_id}", text="Ordered: a worker restores the jobcodes.")


_PLAN = r"/plans/([0-9]{1,18})"
ROUTES = [
    ("/plans", Plans),
    (_PLAN, OnePlan),
    (f"{_PLAN}/approve", Approve),
    (f"{_PLAN}/dismiss", Dismiss),
    (f"{_PLAN}/undo", Undo),
]
NAVIGATION = Entry("Plans", "/plans")
