"""RabbitMQ in the place of the embedded broker: nothing else changes."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu.connection import Connection

from cprqueue.celery import QUEUES
from cprqueue.errors import ServiceUnreachable
from cprqueue.runtime.broker import wait_until_answering
from cprqueue.sandbox.server import Sandbox
from tests.office import broken
from tests.other_servers import url_of
from tests.real_processes import killed_at_the_end
from tests.running import System, celery

JOBS = 60


@pytest.fixture
def broker() -> str:
    """An AMQP URL whose queues are empty."""
    url = url_of("CPR_TEST_RABBITMQ_URL")
    with Connection(url) as connection:
        for name in QUEUES:
            connection.channel().queue_delete(name)
    return url


def test_a_first_sync_and_an_urgent_job_go_through_rabbitmq(broker: str, tmp_path: Path) -> None:
    with Sandbox(jobs=JOBS) as sandbox:
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=broker)
        with system.up("--no-beat", "--no-flower"):
            assert not (system.var / "broker").exists(), "an embedded broker was started as well"
            done = system.sync()
            assert done["emitted"] == done["recorded"] == JOBS, done
            assert broken(sandbox) == []
            one = next(j for j in sandbox.rm.jobs() if j["jobStatus"] == "Active")
            resync = system.run("resync", str(one["jobId"]), "--json")
            assert resync.returncode == 0, resync.stderr
            json.loads(resync.stdout)


def test_messages_wait_for_a_worker_and_survive_a_killed_one(broker: str, tmp_path: Path) -> None:
    with Sandbox(jobs=JOBS) as sandbox:
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=broker)
        with system.up("--no-beat", "--no-flower") as up:
            system.sync()
            up.process.kill()
            up.process.wait(20)
        order = system.run("sync", "--full", "--no-wait", "--json")
        assert order.returncode == 0, order.stderr
        sandbox.rm.put_jobs([{"jobId": 990_001, **_fields("RMQ-1")}])
        with system.up("--no-beat", "--no-flower"):
            deadline = time.monotonic() + 60
            while "RMQ-1" not in str(sandbox.qbt.state()):
                assert time.monotonic() < deadline, "the waiting fetch was lost"
                time.sleep(0.2)


def test_a_worker_whose_lost_connection_is_not_noticed_yet_waits_and_works_then(
    broker: str, tmp_path: Path
) -> None:
    node = f"locked-{tmp_path.name}@here"
    with Sandbox(jobs=[]) as sandbox, Connection(broker) as before:
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=broker)
        channel = before.channel()
        channel.queue_declare(
            f"{node}.celery.pidbox", exclusive=True, auto_delete=True, durable=False
        )
        worker = celery(system, "worker", "-Q", "urgent", "-n", node, "-c", "1")
        assert worker.stdout is not None
        with killed_at_the_end(worker):
            said = iter(worker.stdout.readline, "")
            assert any("for a connection that is gone: tried again" in line for line in said)
            before.release()
            assert any("cprqueue.ready" in line for line in said)
            worker.kill()


def _fields(number: str) -> dict[str, str | int]:
    return {
        "jobJobId": number,
        "jobName": "Customer",
        "siteId": 8,
        "jobStatus": "Active",
        "jobProgress": "Work in Progress",
        "jobAddress1": "1 Main Street",
        "jobCity": "Boise",
        "jobStateCd": "ID",
        "jobZip": "83702",
    }


@pytest.mark.parametrize(("change", "said"), [("password", "ACCESS_REFUSED"), ("path", "530")])
def test_a_wrong_password_or_vhost_is_one_line(change: str, said: str) -> None:
    parts = urlsplit(url_of("CPR_TEST_RABBITMQ_URL"))
    host = f"{parts.hostname}:{parts.port}"
    url = {"password": f"amqp://guest:hush@{host}//", "path": f"amqp://guest:guest@{host}/none"}
    with pytest.raises(ServiceUnreachable, match=said) as told:
        wait_until_answering(url[change], 5)
    assert re.search("correct .*CELERY_BROKER_URL", str(told.value))
    assert "hush" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1
