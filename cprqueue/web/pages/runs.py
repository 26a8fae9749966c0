"""The page Runs: a list, and bars of counts, seconds and calls."""

from __future__ import annotations

from collections.abc import Mapping

from cprqueue.services.board import runs
from cprqueue.services.reports.overview import said_counts
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Page
from cprqueue.web.problems import Problem

WORDS = {
    "fetch": "fetches",
    "import": "imports",
    "resync": "resyncs",
    "snapshot": "snapshots",
    "prune": "prunes",
    "remove_all": "remove-alls",
    "undo": "undos",
}
"""The filters by kind, as people call them."""

SLOT = 10
"""Width of a bar and the gap beside it, in units of the drawing."""


class Runs(Page):
    """The runs, newest first."""

    template = "runs.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read one page."""
        kind = self.query.choice("kind", runs.KINDS, "")
        before = self.query.number("before", 0)
        found = runs.read(self.app.db, kind=kind, before=before or None)
        return {"found": found, "kinds": WORDS, "first": not before, "slot": SLOT}


class OneRun(Page):
    """One run."""

    template = "run.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it."""
        row = runs.read_one(self.app.db, int(words[0]))
        if row is None:
            raise Problem(404, f"Run {int(words[0])} is not on record.")
        has_plan = row.run.kind in ("prune", "remove_all", "undo")
        return {"row": row, "run": row.run, "counts": said_counts(row.run), "has_plan": has_plan}


ROUTES = [("/runs", Runs), (r"/runs/([0-9]{1,18})", OneRun)]
NAVIGATION = Entry("Runs", "/runs")
