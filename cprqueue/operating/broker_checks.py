"""What ``check`` says of the broker: a message goes through each queue, and every right is used.

The message is an order for a sweep that has expired before it is sent: a worker that takes it
discards it, RabbitMQ drops it by itself, and from Redis it is taken back. Should a worker carry it
out after all, that is one sweep more.
"""

from __future__ import annotations

import resource
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from kombu.exceptions import OperationalError

from cprqueue.errors import ServiceUnreachable
from cprqueue.operating import broker_state
from cprqueue.runtime import broker_link
from cprqueue.services.reports.findings import OK, PROBLEM, UNREACHABLE, WARNING, Finding

CANARY = "cpr.sweep"
EXPIRED_SECONDS = 0.001
CONNECTIONS = 100
"""``up`` with Flower holds about 70 connections to Redis, and commands come to that."""

FILES = 256
FULL = 0.9
SEEN = 200  # of the messages that were sent last


def findings() -> Iterator[Finding]:
    """Yield what is right or wrong about the broker; an empty answer is never given."""
    yield from _files()
    try:
        with broker_state.connection() as conn:
            refused, limits = list(_refused(conn)), list(_limits(conn))
    except ServiceUnreachable as error:
        yield _away(str(error))
        return
    yield Finding(name="broker", state=OK, text="answers")
    fine = Finding(name="queues", state=OK, text="each takes a message and gives it back")
    yield from (refused or [fine]) + limits


def _away(problem: str) -> Finding:
    if problem == broker_state.NOT_RUNNING:
        text, cure = "the embedded broker is not running", "`cprqueue up` starts it"
        return Finding(name="broker", state=WARNING, text=text, cure=cure)
    text, _, cure = problem.rpartition(": ")
    return Finding(name="broker", state=UNREACHABLE, text=text, cure=cure)


def _files() -> Iterator[Finding]:
    """Say where this user may open so few files that programs of ``up`` would fail."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < FILES:
        cure = f"allow at least {FILES} (`ulimit -n 1024`, LimitNOFILE= in systemd)"
        text = f"a process may open {allowed} files, sockets included: too few for `cprqueue up`"
        yield Finding(name="open files", state=PROBLEM, text=text, cure=cure)


def _refused(conn: Any) -> Iterator[Finding]:
    """Try whatever workers and commands do; yield what the broker refuses, with its reason."""
    from cprqueue.celery import QUEUES, settings

    trials = {name: _through(conn, name) for name in QUEUES}
    trials["remote control"] = lambda: _control(conn)
    if conn.transport.driver_type == "redis":
        trials["receiving"] = lambda: _receive(conn)
    failed: dict[str, tuple[list[str], str]] = {}
    for name, trial in trials.items():
        try:
            trial()
        except (*conn.channel_errors, OperationalError) as error:
            if not broker_link.is_refusal(error):
                raise
            conn._default_channel = None  # RabbitMQ has closed it: the next trial makes another
            told = broker_link.described(error, settings.broker_url)
            cure = broker_link.cure(told, settings.broker_url)
            failed.setdefault(cure, ([], told))[0].append(name)
    for cure, (names, told) in failed.items():
        text = f"{', '.join(names)}: the broker {told}"
        yield Finding(name="queues", state=PROBLEM, text=text, cure=cure)


def _through(conn: Any, name: str) -> Callable[[], None]:
    """Return what sends a message through a queue, declared as a worker declares it."""

    def trial() -> None:
        from cprqueue.celery import app

        with conn.channel() as channel:
            broker_link.task_queues([name])[0](channel).declare()
            task_id = str(uuid.uuid4())
            app.send_task(
                CANARY,
                kwargs={"by_beat": False},
                task_id=task_id,
                queue=name,
                expires=EXPIRED_SECONDS,
                producer=app.amqp.Producer(channel),
                retry=False,
                mandatory=True,
            )
            if conn.transport.driver_type == "redis":
                _take_back(channel.client, name, task_id)
            elif message := channel.basic_get(name):
                channel.basic_reject(message.delivery_tag, requeue=not _is(message, task_id))

    return trial


def _is(message: Any, task_id: str) -> bool:
    return bool((message.headers or {}).get("id") == task_id)


def _take_back(client: Any, name: str, task_id: str) -> None:
    """Remove the message from the list, unless a worker was quicker."""
    for message in client.lrange(name, 0, SEEN):
        if task_id.encode() in message:
            client.lrem(name, 1, message)


def _control(conn: Any) -> None:
    """Ask workers to answer, and declare what their events and answers need."""
    from celery.events.event import get_exchange

    from cprqueue.celery import app

    app.control.ping(timeout=0.1, connection=conn)
    with conn.channel() as channel:
        get_exchange(conn, name=app.conf.event_exchange)(channel).declare()
        queue = app.control.mailbox.get_queue(f"check-{uuid.uuid4()}")(channel)
        queue.declare()
        queue.delete()


def _receive(conn: Any) -> None:
    """Do on Redis, with a queue of our own, what a worker does to receive and acknowledge."""
    name = f"cprqueue-check-{uuid.uuid4()}"
    client = conn.default_channel.client
    client.brpop([name], timeout=0.01)
    with client.pubsub() as listening:
        listening.psubscribe(f"/0.{name}")
    with conn.SimpleQueue(name) as queue:
        queue.put({})
        queue.get(timeout=1).ack()
        queue.queue.delete()
    client.delete(f"_kombu.binding.{name}")


def _limits(conn: Any) -> Iterator[Finding]:
    """Say what will refuse messages soon: connections, memory, files that cannot be written."""
    if conn.transport.driver_type != "redis":
        return
    from redis.exceptions import ResponseError

    try:
        told: dict[str, Any] = conn.default_channel.client.info()
    except ResponseError:
        text, cure = "it may not run INFO: its limits are not known", "allow it, or look yourself"
        yield Finding(name="broker", state=WARNING, text=text, cure=cure)
        return
    allowed, used, limit = told["maxclients"], told["used_memory"], told["maxmemory"]
    if allowed < CONNECTIONS:
        text = f"the broker takes {allowed} connections: `cprqueue up` may need {CONNECTIONS}"
        cure = broker_link.CURES["max number of clients"]
        yield Finding(name="connections", state=WARNING, text=text, cure=cure)
    if limit and told["maxmemory_policy"] != "noeviction":
        text = f"its maxmemory-policy is {told['maxmemory_policy']}: it drops messages when full"
        yield Finding(name="memory", state=WARNING, text=text, cure="set it to noeviction")
    if limit and used > FULL * limit:
        text, cure = (
            f"{used / limit:.0%} of the broker's maxmemory is used",
            broker_link.CURES["OutOfMemory"],
        )
        yield Finding(name="memory", state=WARNING, text=text, cure=cure)
