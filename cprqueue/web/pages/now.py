"""The page Now: is it working, and what waits for a person?"""

from __future__ import annotations

from collections.abc import Mapping

from cprqueue.operating import orders
from cprqueue.services.reports import overview
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Act, Done, Page


class Now(Page):
    """How things stand."""

    template = "now.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read the state of everything."""
        return {"status": overview.read_status(self.app.db, self.app.budget)}


class FetchNow(Act):
    """The button "Fetch now"."""

    def act(self, *words: str) -> Done:
        """Order a fetch, as `cprqueue sync --no-wait` does."""
        run_id = orders.fetch(self.app, by=self.by)
        return Done(to="/", text=f"Run {run_id} fetches the changed jobs now.")


ROUTES = [("/", Now), ("/fetch", FetchNow)]
NAVIGATION = Entry("Now", "/")
