"""What Flower shows of a task says what it does."""

from __future__ import annotations

import pytest

from cprqueue.celery import ROUTES
from cprqueue.runtime.task_labels import label


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "text"),
    [
        ("cpr.fetch_jobs", (), {}, "changed jobs"),
        ("cpr.fetch_jobs", (), {"full": True, "run_id": 3}, "all jobs, run 3"),
        ("cpr.resync_job", ("BMS-1",), {}, "job BMS-1"),
        ("cpr.resync_job", (), {"job": "BMS-1", "run_id": 4}, "job BMS-1, run 4"),
        ("cpr.upsert_job", (7,), {}, "RM job 7"),
        ("cpr.prune_inactive", (), {"run_id": 5, "approve": True}, "approved, run 5"),
        ("cpr.insert_job", (), {"job": {"addr1": "1 Main Street"}, "run_id": 1}, "run 1"),
    ],
)
def test_a_label_says_what_a_task_does(
    task: str, args: tuple[object, ...], kwargs: dict[str, object], text: str
) -> None:
    assert label(task, args, kwargs) == text


ORDERED = ("cpr.prune_inactive", "cpr.remove_all", "cpr.undo")
"""Sent for a run only, whose number is the label."""


@pytest.mark.parametrize("task", sorted(set(ROUTES) - {"cpr.insert_job", "cpr.resync_job"}))
def test_no_task_of_the_timetable_is_without_a_label(task: str) -> None:
    assert len(label(task, (), {})) > 1 or task in ORDERED
