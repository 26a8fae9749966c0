"""A sync right after a broker's restart waits for the workers, who connect to it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from cprqueue.runtime.broker import wait_until_answering
from cprqueue.sandbox.server import Sandbox
from tests.office import job
from tests.own_brokers import Broker
from tests.real_processes import wait_until
from tests.running import System

pytestmark = pytest.mark.rm_jobs(*(job(n, f"A-{n}") for n in range(1, 8)))


def test_a_sync_waits_for_workers_that_connect_anew(tmp_path: Path, sandbox: Sandbox) -> None:
    broker = Broker(tmp_path)
    broker.start()
    url = broker.url(broker.port)
    wait_until_answering(url, 10)
    home = tmp_path / "system"  # the broker does not belong to it
    home.mkdir()
    system = System(home, sandbox, CELERY_BROKER_URL=url)
    try:
        with system.up("--no-flower", "--no-web", "--no-beat") as up:
            assert system.sync()["code"] == 0
            broker.end()
            wait_until(lambda: up.heard("Trying again in 6.00 seconds"), timeout_seconds=60)
            broker.start()
            wait_until_answering(url, 10)
            done = system.run("sync", "--full")
            assert done.returncode == 0, done.stderr
            assert "may be connecting to the broker anew" in done.stderr
    finally:
        broker.close()
