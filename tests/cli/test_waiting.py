"""A command that waits outlasts a database or a broker that is away for a while."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cprqueue.cli import waiting
from cprqueue.errors import DatabaseUnavailable


def away(times: int, found: str | None = "done") -> Callable[[], str | None]:
    """Return what is out of reach so many times, and then gives ``found``."""
    left = iter(range(times))

    def read() -> str | None:
        if next(left, None) is not None:
            raise DatabaseUnavailable("the database is away")
        return found

    return read


def test_what_is_away_is_waited_for_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.until(away(3), timeout_seconds=9) == "done"
    assert capsys.readouterr().err == "the database is away: waiting for it\nit answers again\n"


def test_what_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AWAY_SECONDS", 0)
    with pytest.raises(DatabaseUnavailable):
        waiting.until(away(99), timeout_seconds=9)


def test_after_the_timeout_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.until(away(0, None), timeout_seconds=0) is None
    assert waiting.until(away(99), timeout_seconds=0) is None
