"""One insert task takes waiting messages along: real workers, Valkey and RabbitMQ, real ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import func, select

from cprqueue import celery as product
from cprqueue import config
from cprqueue.domain.models import Address, Job
from cprqueue.sandbox.credentials import environment
from cprqueue.store import schema
from cprqueue.store.database import Database
from cprqueue.store.tables import events, jobs
from tests.other_servers import url_of
from tests.own_valkey import own_valkey
from tests.real_processes import killed_at_the_end, marked, wait_until
from tests.running import ROOT, clean_environment

pytestmark = pytest.mark.xdist_group("rabbitmq")  # one virtual host for all of them

POINTS = ("taken_along", "recorded_batch", "ended_batch", "acknowledged_batch")
QUICK = ("--without-mingle", "--without-gossip")
JOBS = 12
ALL = set(range(1, JOBS + 1))
SEEN = {"run_id": 1, "number": 1, "complete": True, "observed_at": "2026-03-01T12:00:00+00:00"}


def message(job_id: int, **fields: Any) -> dict[str, Any]:
    known = {"job_number": f"A-{job_id}", "status": "Active", "progress": "Work in Progress"}
    return Job(job_id=job_id, address=Address("1 Secret St"), **(known | fields)).as_message()


class Place:
    """A database and a broker; workers of the queue ``insert`` begin and end on them."""

    def __init__(self, directory: Path, broker: str) -> None:
        self.directory, self.broker = directory, broker
        ours = environment("http://127.0.0.1:9") | {"CPR_VAR_DIR": str(directory / "var")}
        self.env = clean_environment(CELERY_BROKER_URL=broker, **ours)
        settings = config.load(self.env)
        settings.make_var_dir()
        self.app: Celery = product.build(settings)
        self.db = Database(settings.database_url)
        schema.upgrade(self.db)
        self.told: dict[str, list[str]] = defaultdict(list)

    @property
    def redis(self) -> Redis | None:
        """Its client, where the broker is one."""
        if not self.broker.startswith("redis"):
            return None
        return Redis.from_url(self.broker, decode_responses=True)

    @contextmanager
    def worker(self, points: str = "", **env: str) -> Iterator[subprocess.Popen[str]]:
        """Run a worker of one process for the block; it is suspended at each of ``points``."""
        words = ("worker", "-Q", "insert", "-c", "1", "-n", f"w{time.monotonic_ns()}@%h")
        with (self.directory / "worker.log").open("a") as pages:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "cprqueue", *words, *QUICK],
                env={**self.env, "CPR_FAILPOINTS": points, **env},
                cwd=ROOT,
                stdout=pages,
                stderr=pages,
                text=True,
                start_new_session=True,
            )
        with killed_at_the_end(process):
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def log(self) -> str:
        """Return all that the workers have logged."""
        return (self.directory / "worker.log").read_text()

    def send(self, *messages: dict[str, Any], **options: Any) -> list[str]:
        """Send messages; return their ids."""
        return [
            self.app.send_task(
                "cpr.insert_job",
                kwargs={"job": one, **SEEN},
                argsrepr=f"RM job {one.get('job_id')}",
                kwargsrepr="",
                **options,
            ).id
            for one in messages
        ]

    @contextmanager
    def at_once(self) -> Iterator[Any]:
        """Give a producer whose messages all go out at the end of the block."""
        with (
            self.app.connection_for_write() as connection,
            self.app.amqp.Producer(connection) as producer,
            producer.batch(max_size=100),
        ):
            yield producer

    def recorded(self) -> set[int]:
        with self.db.read() as conn:
            return set(conn.execute(select(jobs.c.job_id)).scalars())

    def most_events(self) -> int:
        """Return how often the job that was recorded most was."""
        times = select(func.count()).select_from(events).group_by(events.c.job_id)
        with self.db.read() as conn:
            return max(conn.execute(times).scalars())

    def waiting(self) -> int:
        """Count the messages in the queue, and those that somebody has."""
        if client := self.redis:
            with client:
                return int(client.llen("insert")) + int(client.hlen("unacked"))
        return self.ready()

    def ready(self) -> int:
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            return int(channel.queue_declare(queue="insert", passive=True).message_count)

    def let_time_pass(self) -> None:
        """Have the visibility timeout end for all that is taken; RabbitMQ waits for none."""
        if client := self.redis:
            with client:
                for tag in client.hkeys("unacked"):
                    client.zadd("unacked_index", {str(tag): 0.0})
            with self.app.connection_for_write() as connection, connection.channel() as channel:
                channel.qos.restore_visible(num=1000)

    def stopped(self) -> list[int]:
        """Return the processes that are suspended."""
        return [pid for pid in marked(self.directory) if _state(pid) == "T"]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note every event of a task in ``told``, by its id."""
        with self.app.connection_for_read() as connection:

            def note(happened: Mapping[str, Any]) -> None:
                if "uuid" in happened and happened["type"] != "task-sent":
                    self.told[happened["uuid"]].append(happened["type"].removeprefix("task-"))

            receiver = self.app.events.Receiver(connection, handlers={"*": note})
            thread = threading.Thread(target=partial(receiver.capture, limit=None, wakeup=False))
            thread.start()
            try:
                yield
            finally:
                receiver.should_stop = True
                thread.join()

    def close(self) -> None:
        self.db.close()
        self.app.close()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture(params=["valkey", "rabbitmq"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as closing:
        if request.param == "valkey":
            url = f"redis://127.0.0.1:{closing.enter_context(own_valkey(tmp_path))}/0"
        else:
            url = url_of("CPR_TEST_RABBITMQ_URL")
        made = Place(tmp_path, url)
        closing.callback(made.close)
        with made.app.connection_for_write() as connection, connection.channel() as channel:
            for name in product.QUEUES:
                made.app.amqp.queues[name](channel).declare()
                made.app.amqp.queues[name](channel).purge()
        yield made


def killed(place: Place, worker: subprocess.Popen[str]) -> None:
    """Kill a worker whose process is suspended at some point; time passes."""
    wait_until(place.stopped)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(20)
    wait_until(lambda: not place.stopped())
    place.let_time_pass()


def test_a_worker_that_is_killed_at_any_line_of_a_batch_loses_and_doubles_nothing(
    place: Place,
) -> None:
    place.send(*map(message, ALL))
    for point in POINTS:
        with place.worker(",".join(f"{name}:stop" for name in POINTS)) as worker:
            killed(place, worker)
        assert (place.directory / "var" / f"failpoint-{point}-spent").exists()
        assert place.recorded() == (set() if point == "taken_along" else ALL)
        left = {1 if point == "acknowledged_batch" else JOBS}
        wait_until(partial(lambda left: place.ready() in left, left))
    with place.worker():
        wait_until(lambda: not place.waiting())
    assert place.recorded() == ALL
    assert place.most_events() == 1


def test_what_was_suspended_beyond_the_timeout_comes_to_another_and_is_recorded_once(
    place: Place,
) -> None:
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop"):
        wait_until(place.stopped)
        (asleep,) = place.stopped()
        if place.redis is None:
            place.send(*map(message, ALL))  # RabbitMQ keeps what a living connection has
        place.let_time_pass()
        with place.worker():
            wait_until(lambda: place.recorded() == ALL)
            os.kill(asleep, signal.SIGCONT)
            wait_until(lambda: not place.waiting())
    assert place.waiting() == 0
    assert place.most_events() == 1


def test_a_worker_that_is_asked_to_end_puts_back_what_it_has_not_recorded(place: Place) -> None:
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop") as worker:
        wait_until(place.stopped)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "shutdown" in place.log().lower())
        for pid in place.stopped():
            os.kill(pid, signal.SIGCONT)
        assert worker.wait(30) == 0
    assert (len(place.recorded()), place.waiting()) == (1, JOBS - 1)


def test_a_worker_that_is_cut_off_puts_back_what_it_has_not_recorded(place: Place) -> None:
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop") as worker:
        wait_until(place.stopped)
        (asleep,) = place.stopped()
        worker.send_signal(signal.SIGQUIT)
        wait_until(lambda: _pending(asleep, signal.SIGTERM))
        os.kill(asleep, signal.SIGCONT)
        worker.wait(30)
    wait_until(lambda: place.ready() == JOBS)
    assert (place.recorded(), place.waiting()) == (set(), JOBS)


def _pending(pid: int, number: signal.Signals) -> bool:
    """Tell whether a signal waits for a process that is suspended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_each_message_keeps_its_own_end_and_its_events(place: Place) -> None:
    """Those that are no plain work for the batch are each told as if they had come alone."""
    gone = uuid.uuid4().hex
    with place.watched(), place.worker():
        wait_until(lambda: "at work" in place.log())
        place.app.control.broadcast("revoke", {"task_id": gone}, reply=True, timeout=5, limit=1)
        with place.at_once() as producer:
            send = partial(place.send, producer=producer)
            good = send(*map(message, ALL))
            (huge,) = send(message(2**70))
            (odd,) = send({})
            send(message(900), task_id=gone)
            (late,) = send(message(901), expires=datetime(2020, 1, 1, tzinfo=UTC))
            (later,) = send(message(902), countdown=1)
            place.app.send_task("cpr.unknown", queue="insert", producer=producer)
            good += send(*(message(n) for n in range(21, 31)))
        wait_until(lambda: not place.waiting(), timeout_seconds=40)
        wait_until(lambda: all(place.told[n][-1:] == ["succeeded"] for n in [later, *good]))
        wait_until(lambda: place.told[huge][-1:] == place.told[odd][-1:] == ["failed"])
        wait_until(lambda: place.told[gone])
    assert place.recorded() == ALL | set(range(21, 31)) | {902}
    whole = ["received", "started", "succeeded"]
    assert {n: place.told[n] for n in [later, *good]} == dict.fromkeys([later, *good], whole)
    assert place.told[huge] == place.told[odd] == ["received", "started", "failed"]
    assert place.told[gone] == ["revoked"]
    assert place.told[late] in ([], ["revoked"])  # RabbitMQ itself drops what has expired
    assert "cpr.unknown" in place.log()
    assert "Secret" not in place.log()


@pytest.mark.parametrize("place", ["valkey"], indirect=True)
def test_a_database_that_is_away_is_met_by_each_message_for_itself(place: Place) -> None:
    ids = place.send(*map(message, ALL))
    file = sqlite3.connect(place.directory / "var" / "cprqueue.db")
    with file:  # as if it was away, for whoever records a new job
        file.execute("CREATE TRIGGER away INSERT ON jobs BEGIN SELECT 1 FROM nowhere; END")
    with place.watched(), place.worker():
        wait_until(lambda: sum("retried" in told for told in place.told.values()) >= 2)
        with file:
            file.execute("DROP TRIGGER away")
        file.close()
        wait_until(lambda: place.recorded() == ALL and not place.waiting(), timeout_seconds=60)
        wait_until(lambda: all(place.told[n][-1:] == ["succeeded"] for n in ids))
    assert place.most_events() == 1
    assert "Traceback" not in place.log()
    assert "Secret" not in place.log()
