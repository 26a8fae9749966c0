"""The page To mend: what nobody can push right, with the cure of each."""

from __future__ import annotations

from collections.abc import Mapping

from cprqueue.services.board import mend
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Page


class Mend(Page):
    """All that is to be mended."""

    template = "mend.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read it."""
        return {"kinds": mend.read(self.app.db), "shown": mend.SHOWN}


ROUTES = [("/mend", Mend)]
NAVIGATION = Entry("To mend", "/mend")
