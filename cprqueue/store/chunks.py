"""Statements that every database takes: SQL Server allows 2,100 parameters in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

MOST_PARAMETERS = 2_000
"""In one statement; a test hook holds every database to it."""

AT_ONCE = 500


def chunks(values: Iterable[T], size: int = AT_ONCE) -> list[list[T]]:
    """Cut values into lists that an IN (...) takes, even two of them with more beside."""
    everything = list(values)
    return [everything[i : i + size] for i in range(0, len(everything), size)]
