"""What templates are written with: moments, numbers, buttons.

In a template: ``{{ number(1514) }}``, ``{% module Moment(run.finished_at) %}``,
``{% module Press("Retry", "/jobs/7/retry") %}``, ``{% module Said(error.text) %}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tornado.web import UIModule

from cprqueue.web.tone import tone

if TYPE_CHECKING:
    from cprqueue.web.page import Page

NOTHING: Mapping[str, str] = MappingProxyType({})

UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def number(_page: object, value: float) -> str:
    """Return a number as people read it: 1,514."""
    return f"{value:,}"


def counted(_page: object, value: int, noun: str) -> str:
    """Return ``1 job`` or ``1,514 jobs``."""
    plural = f"{noun.removesuffix('h')}hes" if noun.endswith("h") else f"{noun}s"
    return f"{value:,} {noun if value == 1 else plural}"


def ago(at: datetime, now: datetime) -> str:
    """Say how long ago (or ahead) a moment is."""
    seconds = (now - at).total_seconds()
    unit, length = next((u for u in UNITS if abs(seconds) >= u[1]), UNITS[-1])
    value = round(abs(seconds) / length)
    text = f"{value} {unit}{'' if value == 1 else 's'}"
    if value == 0:
        return "now"
    return f"in {text}" if seconds < 0 else f"{text} ago"


class Moment(UIModule):
    """A moment: how long ago, and the exact time in CPR_TIMEZONE for whoever points at it."""

    handler: Page

    def render(self, at: datetime | None, never: str = "never") -> bytes:
        """Return it; ``never`` is said for None."""
        zone = self.handler.app.settings.timezone
        local = at.astimezone(ZoneInfo(zone)) if at else None
        shown = ago(at, datetime.now(UTC)) if at else never
        return self.handler.render_string("part_moment.html", local=local, shown=shown)


class Press(UIModule):
    """A button that orders something: a form of its own, with the token, for an operator alone.

    ``fields`` are sent along. ``kind``: "", "strong" or "danger". ``about``: what the button is
    for, for who hears the page, where the label alone does not say it.
    """

    handler: Page

    def render(
        self,
        label: str,
        to: str,
        fields: Mapping[str, str] = NOTHING,
        *,
        kind: str = "",
        about: str = "",
    ) -> bytes:
        """Return the form."""
        return self.handler.render_string(
            "part_press.html", label=label, to=to, fields=fields, kind=kind, about=about
        )


class Said(UIModule):
    """A sentence of ours, with a capital and a full stop; what stands in backticks is code."""

    handler: Page

    def render(self, text: str) -> bytes:
        """Return it."""
        whole = text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!", ":")) else ".")
        return self.handler.render_string("part_said.html", pieces=whole.split("`"))


METHODS = {"number": number, "counted": counted, "tone": tone}
MODULES = {"Moment": Moment, "Press": Press, "Said": Said}
