"""Which silence makes a broker or beat one that hangs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cprqueue.cli.silences import BEAT, BROKER, MISSES, Silences
from cprqueue.runtime import broker
from cprqueue.runtime.supervisor import Event

TICK = 10.0


@pytest.fixture
def silences(tmp_path: Path) -> Silences:
    made = Silences(tmp_path, TICK)
    for pid, program in enumerate((BROKER, BEAT), 1):
        made.take(Event(kind="ready", program=program, pid=pid))
    return made


def ticked(tmp_path: Path, seconds_ago: float) -> None:
    (tmp_path / "beat").mkdir(exist_ok=True)
    mark, then = tmp_path / "beat" / "tick", time.monotonic() - seconds_ago
    mark.touch()
    os.utime(mark, (then, then))


def rounds(silences: Silences, number: int, *, delivers: bool) -> list[tuple[str, int]]:
    found = [hung for _ in range(number) for hung in silences.judge(0.01, delivers=delivers)]
    return [(name, pid) for name, pid, _ in found]


def test_beat_that_does_not_tick_hangs_once(silences: Silences, tmp_path: Path) -> None:
    ticked(tmp_path, MISSES * TICK + 1)
    assert rounds(silences, MISSES - 1, delivers=True) == []
    assert rounds(silences, 5, delivers=True) == [(BEAT, 2)]
    silences.take(Event(kind="ready", program=BEAT, pid=9))
    assert rounds(silences, MISSES, delivers=True) == [(BEAT, 9)]


def test_beat_that_ticks_or_may_wait_for_the_broker_does_not(
    silences: Silences, tmp_path: Path
) -> None:
    assert rounds(silences, 9, delivers=True) == [], "it may be of a version before"
    ticked(tmp_path, TICK)
    assert rounds(silences, 9, delivers=True) == []
    ticked(tmp_path, 9 * TICK)
    assert rounds(silences, 9, delivers=False) == []


def test_a_broker_that_is_silent_hangs_and_one_that_is_gone_does_not(
    silences: Silences, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rounds(silences, 9, delivers=False) == [], "nobody listens on its socket"
    monkeypatch.setattr(broker, "is_silent", lambda *_: True)
    assert rounds(silences, MISSES - 1, delivers=False) == []
    assert rounds(silences, 1, delivers=True) == []
    assert rounds(silences, MISSES, delivers=False) == [(BROKER, 1)]
    assert rounds(silences, 9, delivers=False) == [], "another one has to be ready first"
