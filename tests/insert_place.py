"""A worker of the queue ``insert`` alone, on a broker of either kind, and its messages."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

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
from tests.real_processes import killed_at_the_end, marked
from tests.running import ROOT, clean_environment

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

    def declare(self) -> None:
        """Make its queues, and empty them."""
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            for name in product.QUEUES:
                self.app.amqp.queues[name](channel).declare()
                self.app.amqp.queues[name](channel).purge()

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
