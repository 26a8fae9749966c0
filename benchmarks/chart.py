"""The picture for ``docs/``: bars of jobs a second, and of what a job costs each stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from statistics import median

from benchmarks.measured import Row, spread

WIDTH, LABEL, BAR, STEP = 860, 380, 300, 22
OURS, OTHER = "#2a6f97", "#adb5bd"
Bar = tuple[str, tuple[float, ...], str]
"""What it says, its values, its colour."""


def svg(rows: Sequence[Row], caption: str) -> str:
    """Draw the rows that are rates, and those of growth."""
    rates = [row for row in rows if row.unit == "jobs a second"]
    growth = [row for row in rows if row.part == "growth"]
    lines: list[str] = []
    height = 30
    for title, bars in (
        ("Jobs a second (more is better)", list(_rates(rates))),
        ("CPU milliseconds a job (flat is better)", [(r.name, r.values, OURS) for r in growth]),
    ):
        if bars:
            lines += _group(title, bars, height)
            height += STEP * (len(bars) + 2)
    lines.append(_text(10, height, caption, 12, "#495057"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 14}"'
    return "\n".join(
        [f'{head} font-family="sans-serif">', *_background(height), *lines, "</svg>\n"]
    )


def _rates(rows: Iterable[Row]) -> Iterable[Bar]:
    seen: set[str] = set()
    for row in rows:
        yield row.name, row.values, OTHER if row.part == "anchors" else OURS
        name = f"bare Celery, two empty messages{row.part.removeprefix('throughput')}"
        if row.yardstick and name not in seen:
            seen.add(name)
            yield name, row.yardstick, OTHER


def _group(title: str, bars: list[Bar], top: float) -> list[str]:
    most = max(max(values) for _, values, _ in bars) or 1
    lines = [_text(10, top, title, 15, "#212529")]
    for number, (name, values, colour) in enumerate(bars, 1):
        y = top + number * STEP
        long = BAR * median(values) / most
        lines.append(_text(10, y, name, 12, "#212529"))
        lines.append(
            f'<rect x="{LABEL}" y="{y - 12}" width="{long:.1f}" height="14" fill="{colour}"/>'
        )
        lines.append(_text(LABEL + long + 6, y, spread(values), 12, "#495057"))
    return lines


def _background(height: float) -> list[str]:
    return [f'<rect width="{WIDTH}" height="{height + 14}" fill="#ffffff"/>']


def _text(x: float, y: float, words: str, size: int, colour: str) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(words)}</text>'
    )
