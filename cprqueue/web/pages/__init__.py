"""The pages. ``MODULES`` are all of them, in the order of the navigation.

Each has ``ROUTES``, a list of (pattern, handler), and ``NAVIGATION``: its ``Entry``, or None.
"""

from __future__ import annotations

from types import ModuleType

from cprqueue.web.navigation import Entry, Route
from cprqueue.web.pages import check, job, jobs, login, mend, now, plans, runs

MODULES: tuple[ModuleType, ...] = (now, jobs, job, plans, runs, check, mend, login)


def routes() -> list[Route]:
    """Return the routes of all pages."""
    return [route for module in MODULES for route in module.ROUTES]


def navigation() -> list[Entry]:
    """Return what the navigation shows."""
    return [module.NAVIGATION for module in MODULES if module.NAVIGATION is not None]
