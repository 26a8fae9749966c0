"""What was measured: values, one for each round, beside those of a yardstick."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``values`` and ``yardstick`` of one index are of one round."""

    part: str
    name: str
    unit: str
    values: tuple[float, ...]
    yardstick: tuple[float, ...] = ()
    yardstick_name: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Return the ratio of each round; none where a yardstick is 0."""
        pairs = zip(self.values, self.yardstick, strict=False)
        return tuple(value / other for value, other in pairs if other)

    def cells(self) -> tuple[str, str, str, str]:
        """Return the line's texts: what, measured, yardstick, ratio."""
        beside = f"{spread(self.yardstick)} {self.yardstick_name}" if self.yardstick else ""
        return (
            f"{self.name} ({self.unit})",
            spread(self.values),
            beside.strip(),
            spread(self.ratios),
        )

    def document(self) -> dict[str, Any]:
        """Return the line for the JSON document."""
        return asdict(self) | {"median": median(self.values), "ratios": self.ratios}


def spread(values: tuple[float, ...]) -> str:
    """Return the median, and the least and the most of several: ``165 (150 to 171)``."""
    if not values:
        return ""
    low, middle, high = (_number(number) for number in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
