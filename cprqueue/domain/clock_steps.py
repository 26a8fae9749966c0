"""Pure: was a clock stepped between two looks at it, and what does a step leave wrong?"""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_MS = 100
"""Less than this is no step: reading two clocks takes time."""

DRIFT = 1000
"""Two clocks may part by one in so many: more than any clock that is not broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a clock that may be stepped has ``shown`` between two moments of one that cannot be.

    All in milliseconds.
    """

    shown: int
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Reading):
    """A reading that was kept; ``moved``: the sum of the steps that were on record then."""

    moved: int


def step_since(mark: Mark, reading: Reading, moved: int) -> int:
    """Return by how many milliseconds the clock was stepped since ``mark``; 0 where it was not.

    ``moved``: the sum of the steps on record now; a step that another process has put there is
    not counted again. What the reading leaves open counts as forward: then stamps of the past
    lie a little too late, and nothing is free too early.
    """
    passed = reading.shown - mark.shown
    most, least = passed - (reading.before - mark.after), passed - (reading.after - mark.before)
    allowed = SMALLEST_MS + abs(reading.after - mark.before) // DRIFT
    recorded = moved - mark.moved
    if any(least - allowed <= known <= most + allowed for known in (0, recorded)):
        return 0
    return most - recorded


def step_while_away(newest: Mark, reading: Reading) -> int:
    """Return how far the clock was set back while no process of this boot has looked at it.

    ``newest`` is another boot's mark, so only what it had ``shown`` counts; nor is a clock that
    was set ahead told from time that has passed.
    """
    return min(0, reading.shown - newest.shown + SMALLEST_MS)
