"""The page Now: is it working, and what waits for a person?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from cprqueue import private_files
from cprqueue.operating import health, orders
from cprqueue.services.health import Check
from cprqueue.services.reports import now
from cprqueue.services.reports.now import Now as State
from cprqueue.web import chart
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Act, Done, Page


class _AboutNow(Page):
    def state(self) -> State:
        """Return how things stand, at most some seconds old."""
        return self.board.now.get(self._read)

    def _read(self) -> State:
        found = health.ask(self.app)
        disk = private_files.nearly_full(self.app.settings.var_dir)
        checks = [*found.checks, Check(name="disk", ok=not disk, text=disk)]
        began = self.board.began
        return now.read(self.app.db, self.app.budget, checks, found.seen, began=began)


class Now(_AboutNow):
    """How things stand."""

    template = "now.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it."""
        state = self.state()
        jobs = state.status.jobs
        return {
            "now": state,
            "jobs": jobs,
            "budget": state.status.budget,
            "fetched_at": _fetched_at(state),
            "titles": {check.name: now.title(check) for check in state.troubles},
            "chart": chart.of(state.pushed, self.app.settings.timezone),
            "live": "/now.json",
            "version": _version(state),
        }


class Numbers(_AboutNow):
    """The same for the script: the numbers, and whether anything else has changed."""

    as_json = True

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it."""
        state = self.state()
        at = _fetched_at(state)
        return {
            "version": _version(state),
            "level": state.level,
            "headline": state.headline,
            "numbers": {
                **{f"jobs-{name}": f"{number:,}" for name, number in state.status.jobs.items()},
                "calls-free": f"{state.status.budget['free']:,.0f}",
            },
            "fetched_at": at.isoformat(timespec="seconds") if at else None,
        }


def _fetched_at(state: State) -> datetime | None:
    return state.status.fetch_succeeded.finished_at if state.status.fetch_succeeded else None


def _version(state: State) -> str:
    """Return a text that changes where the page has to be loaded anew."""
    shown = (
        state.headline,
        [check.name for check in state.troubles],
        [row.job_id for row in state.parked],
        [(held.run_id, held.jobs) for held in state.held_pushes],
        [run.run_id for run in state.held_prunes],
        (state.drifted, state.notes),
    )
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


class FetchNow(Act):
    """The button "Fetch now"."""

    def act(self, *words: str) -> Done:
        """Order a fetch, as `cprqueue sync --no-wait` does."""
        run_id = orders.fetch(self.app, by=self.by)
        self.board.now.forget()
        return Done(to="/", text=f"Run {run_id} fetches what has changed in RestorationManager.")


ROUTES = [("/", Now), ("/now.json", Numbers), ("/fetch", FetchNow)]
NAVIGATION = Entry("Now", "/")
