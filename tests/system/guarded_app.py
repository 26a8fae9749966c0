"""A tiny Celery app for test_broker_guard: one late-acknowledged task that waits for a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

from cprqueue.runtime import kombu_patch

if os.environ["GUARD"] == "yes":
    kombu_patch.install()

app = Celery("guarded", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": 5,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
)


@app.task(name="guarded.wait_for")  # type: ignore[untyped-decorator]
def wait_for(gate: str, diary: str) -> None:
    """Write a line to the diary, then wait until the gate exists."""
    with Path(diary).open("a") as pages:
        pages.write("began\n")
    while not Path(gate).exists():
        time.sleep(0.05)
