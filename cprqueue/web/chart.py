"""Pure: a small bar chart of the last hours, as a picture (SVG) and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

HEIGHT, BAR, GAP, LABELS = 120, 20, 6, 22
LEFT = 44
STEPS = (1, 2, 5)
EVERY = 6
"""Every so many bars have their hour written below them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour: where its bar stands, and what it says."""

    x: int
    y: float
    height: float
    hour: str
    number: int
    labelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """All bars, the line above them with its number, and the whole in words."""

    bars: Sequence[Bar]
    top: int
    width: int
    height: int
    left: int
    text: str


def of(pushed: Sequence[tuple[datetime, int]], timezone: str) -> Chart:
    """Draw how many jobs were pushed in each hour."""
    zone = ZoneInfo(timezone)
    top = ceiling(max((number for _, number in pushed), default=0))
    bars = []
    for at, (begin, number) in enumerate(pushed):
        height = round(HEIGHT * number / top, 1)
        if number:
            height = max(height, 1.5)  # one of thousands is still seen
        bars.append(
            Bar(
                x=LEFT + at * (BAR + GAP),
                y=round(HEIGHT - height, 1),
                height=height,
                hour=f"{begin.astimezone(zone):%H:%M}",
                number=number,
                labelled=at % EVERY == 0 or at == len(pushed) - 1,
            )
        )
    width = LEFT + len(bars) * (BAR + GAP)
    return Chart(
        bars=bars, top=top, width=width, height=HEIGHT + LABELS, left=LEFT, text=_text(bars)
    )


def ceiling(most: int) -> int:
    """Return the first of 1, 2, 5, 10, 20, 50 ... that is no less; at least 5."""
    power = 1
    while True:
        for step in STEPS:
            if step * power >= max(most, 5):
                return step * power
        power *= 10


def _text(bars: Sequence[Bar]) -> str:
    total = sum(bar.number for bar in bars)
    if not total:
        return "Nothing was pushed in the last 24 hours"
    most = max(bars, key=lambda bar: bar.number)
    share = "all" if most.number == total else f"most ({most.number:,})"
    words = "1 push" if total == 1 else f"{total:,} pushes"
    return f"{words} in the last 24 hours, {share} in the hour from {most.hour}"
