"""The yardstick of throughput: a pipeline of two messages a job whose tasks do nothing.

Same Celery settings, broker, queues, worker options and message sizes as the product; the
first task sends the second, as ``cpr.insert_job`` rings ``cpr.upsert_job``.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from cprqueue import config
from cprqueue.celery import celery_settings
from cprqueue.runtime import kombu_patch

settings = config.load()
kombu_patch.install()
app = Celery("bare")
app.conf.update({**celery_settings(settings), "include": [], "task_routes": {
    "bare.emit": {"queue": "fetch"},
    "bare.first": {"queue": "insert"},
    "bare.second": {"queue": "upsert"},
}})  # fmt: skip


@app.task(name="bare.second")
def second(job_id: int) -> None:
    """Do nothing."""


@app.task(name="bare.first")
def first(job: dict[str, Any], run_id: int, complete: bool, observed_at: str) -> None:
    """Send the second message."""
    second.apply_async((job["job_id"],), argsrepr="RM job")


@app.task(name="bare.emit")
def emit(jobs: list[dict[str, Any]]) -> None:
    """Send the first message of each job, in pipelined groups."""
    with app.producer_or_acquire() as producer, producer.batch(max_size=500):
        for job in jobs:
            first.apply_async(
                kwargs={"job": job, "run_id": 1, "complete": True, "observed_at": "2026-01-01"},
                argsrepr="RM job",
                kwargsrepr="",
                producer=producer,
            )
