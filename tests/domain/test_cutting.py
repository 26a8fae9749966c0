"""A text is cut to what a column of SQL Server holds, and no character in two."""

from __future__ import annotations

import pytest

from cprqueue.domain.cutting import cut


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
