"""What is said to do about what a broker says."""

from __future__ import annotations

import pytest
from redis.exceptions import BusyLoadingError, ClusterCrossSlotError, ResponseError

from cprqueue.runtime import broker_link

URL = "redis://h:6379/9"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClusterCrossSlotError("Keys in request don't hash to the same slot"), "without cluster"),
        (ResponseError("DB index is out of range"), "/0"),
        (BusyLoadingError("Redis is loading the dataset in memory"), "wait until"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "its disk is full"),
    ],
)
def test_what_a_broker_says_has_its_own_cure(error: Exception, words: str) -> None:
    assert words in broker_link.cure(broker_link.described(error, URL), URL)


def test_no_cure_holds_what_it_is_told_apart_by() -> None:
    assert not [cure for cure in broker_link.CURES.values() if ": " in cure]
