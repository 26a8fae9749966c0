"""A text is cut to what a column of SQL Server holds, and no character in two."""

from __future__ import annotations

import pytest

from cprqueue.domain.cutting import cut, listed


@pytest.mark.parametrize(
    ("text", "units", "left"),
    [
        ("abc", 2, "ab"),
        ("éé", 2, "éé"),
        ("🏠🏠🏠", 4, "🏠🏠"),
        ("a🏠🏠", 4, "a🏠"),
        ("🏠" * 20, 40, "🏠" * 20),
        ("", 1, ""),
    ],
)
def test_a_text_is_cut(text: str, units: int, left: str) -> None:
    assert cut(text, units) == left


def test_a_list_of_names_is_short_whatever_they_are() -> None:
    assert listed([], 2) == ""
    assert listed(["A-1", "A-2"], 2) == "A-1, A-2"
    assert listed(["A-1", "A-2", "A-3"], 2) == "A-1, A-2, ..."
    assert listed(["x" * 64, "x" * 65], 2) == f"{'x' * 64}, {'x' * 64}..."
