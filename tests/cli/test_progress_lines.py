"""The lines of a wait without a terminal."""

from __future__ import annotations

import pytest

from cprqueue.cli import progress_bar
from cprqueue.domain.states import RunState
from cprqueue.services.reports.progress import SyncProgress


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (RunState.RUNNING, "run 7 running: 0 of ? recorded"),
        (RunState.DONE, "run 7 done: 0 of 0 recorded"),
    ],
)
def test_how_many_jobs_there_are_is_known_once_all_are_sent(state: RunState, text: str) -> None:
    numbers = dict.fromkeys(("emitted", "recorded", "in_sync", "due", "parked", "held", "calls"), 0)
    current = SyncProgress(run_id=7, state=state, note="", stopped="", **numbers)
    assert progress_bar._line(current).startswith(text)
