"""RabbitMQ in bad states: other defaults, no way to it, a short patience, rights that lack."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from cprqueue.sandbox.server import Sandbox
from tests.insert_place import ALL, Place, message
from tests.insert_place import JOBS as JOBS_ALONG
from tests.own_rabbitmq import RabbitMq, own_rabbitmq
from tests.real_processes import marked, wait_until
from tests.running import System, celery
from tests.silent_proxy import proxy_to

WORKERS = 5
JOBS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    with own_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


def worked(system: System) -> bool:
    return bool(system.sync("--full").get("recorded") == JOBS)


def test_quorum_queues_by_default_a_short_patience_and_a_silent_way_cost_no_job(
    server: RabbitMq, tmp_path: Path
) -> None:
    server.new_vhost("quorum", "--default-queue-type", "quorum")
    with proxy_to(server.port) as proxy, Sandbox(jobs=JOBS) as sandbox:
        url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/quorum"
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=url)
        with system.up("--no-beat", "--no-flower") as up:
            assert worked(system)
            assert len(up.err) < 20, "".join(up.err)
            programs = set(marked(tmp_path))
            sandbox.rm.switches.update({"drip_seconds": 6})  # twice the consumer_timeout
            assert worked(system)
            assert up.heard("a task takes longer than consumer_timeout")
            sandbox.rm.switches.update({"drip_seconds": 0})
            proxy.fall_silent()
            wait_until(lambda: up.heard("heartbeats missed") >= WORKERS, timeout_seconds=60)
            proxy.recover()
            wait_until(lambda: worked(system), timeout_seconds=120)
            assert programs <= set(marked(tmp_path)), "a worker ended"
            assert not up.heard("Traceback"), "".join(up.err)


def test_a_task_that_was_suspended_too_long_loses_what_it_took_along_to_the_next(
    server: RabbitMq, tmp_path: Path
) -> None:
    place = Place(tmp_path, server.new_vhost("along"))
    place.declare()
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop"):
        wait_until(place.stopped)
        # After two heartbeats all are in the queue again; the worker itself takes one or two.
        wait_until(lambda: place.ready() > JOBS_ALONG - 3, timeout_seconds=40)
        for pid in place.stopped():
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: place.recorded() == ALL and not place.waiting(), timeout_seconds=40)
    assert place.most_events() == 1
    assert "Traceback" not in place.log()
    place.close()


def test_a_queue_that_was_made_otherwise_is_one_line_with_the_cure(
    server: RabbitMq, tmp_path: Path
) -> None:
    url = server.new_vhost("old")
    with Connection(url) as connection:
        other = {"x-queue-type": "quorum"}
        Queue("fetch", Exchange("fetch"), "fetch", queue_arguments=other)(connection).declare()
    with Sandbox(jobs=1) as sandbox:
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=url)
        for command, code in (("up", 2), ("check", 1)):
            done = system.run(command, COLUMNS="800")
            said = [line for line in (done.stderr + done.stdout).splitlines() if "'quorum'" in line]
            assert done.returncode == code
            assert len(said) == 1
            assert "`rabbitmqctl delete_queue -p old fetch` deletes it" in said[0]
        worker = celery(system, "worker", "-Q", "fetch", "-c", "1", CPR_LOG_FORMAT="json")
        told, _ = worker.communicate(timeout=60)
        assert worker.returncode == 1
        assert "delete_queue -p old fetch" in told
        assert len(told.splitlines()) < 10, told


@pytest.fixture
def system(server: RabbitMq, tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=1) as sandbox:
        yield System(tmp_path, sandbox)


def checked(system: System, url: str) -> dict[str, Any]:
    """Return what is found to be wrong with the broker, by name, and the exit code."""
    done = system.run("check", "--json", CELERY_BROKER_URL=url)
    ours = ("broker", "queues")
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"] if one["name"] in ours}
    assert "hush" not in done.stdout
    return {"code": done.returncode, **found}


def test_check_sends_a_message_through_each_queue_and_names_what_is_refused(
    server: RabbitMq, system: System
) -> None:
    url = server.new_vhost("tried")
    assert {f["state"] for n, f in checked(system, url).items() if n != "code"} == {"ok"}
    with Connection(url) as connection:
        for name in ("fetch", "insert", "upsert", "urgent", "maintenance"):
            declared = connection.default_channel.queue_declare(name, passive=True)
            assert declared.message_count == 0, "its message was left behind"
    server.ctl("add_user", "few", "hush hush")
    server.ctl("set_permissions", "-p", "tried", "few", ".*", ".*", "^fetch$")
    few = checked(system, server.url("tried", "few:hush%20hush"))
    assert (few["code"], few["queues"]["state"]) == (1, "problem")
    assert "access to exchange 'insert'" in few["queues"]["text"]
    wrong = checked(system, server.url("tried", "few:hush%20no"))
    assert "refuses: AccessRefused" in wrong["broker"]["text"]
    assert "correct user and password" in wrong["broker"]["cure"]
    full = '{"max-length": 0, "overflow": "reject-publish"}'
    server.ctl("set_policy", "-p", "tried", "full", "^insert$", full)
    refused = checked(system, url)
    assert refused["queues"]["text"].startswith("insert: the broker refuses: MessageNacked")
    server.ctl("set_vhost_limits", "-p", "tried", '{"max-connections": 0}')
    limited = checked(system, url)
    assert (limited["code"], limited["broker"]["state"]) == (3, "unreachable")
    assert "connection limit (0) is reached" in limited["broker"]["text"]


def test_a_broker_that_blocks_is_not_called_a_missing_worker(
    server: RabbitMq, system: System
) -> None:
    url = server.new_vhost("blocked")
    assert system.run("migrate").returncode == 0
    server.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        for words in (("check",), ("sync",), ("status",)):
            done = system.run(*words, CELERY_BROKER_URL=url, COLUMNS="800")
            assert "it blocks whoever sends (low on memory)" in done.stdout + done.stderr, words
            assert "no worker" not in done.stdout + done.stderr
            assert done.returncode == (0 if words == ("status",) else 3)
    finally:
        server.ctl("set_vm_memory_high_watermark", "0.4")
