"""Systems to measure: the product's own, and the bare pipeline, with the same processes."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from celery import Celery

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.domain.records import Run
from cprqueue.runtime import broker, programs
from cprqueue.runtime.supervisor import Event, Program, Supervisor
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import links, runs, schema

MANY_CALLS = 100_000
"""The budget is lifted, so that the machine is measured and not the five-minute window."""


@dataclass(slots=True, kw_only=True)
class System:
    """A running system: its settings, its application, and its sandbox."""

    env: dict[str, str]
    app: Application
    sandbox: Sandbox

    def order(self, task: str, queue: str, **kwargs: object) -> None:
        """Send a task."""
        send(self.env, task, queue, kwargs)

    def fetch(self, *, full: bool = True) -> int:
        """Order a fetch; return its run."""
        run_id = self.app.fetch.request(complete=full, requested_by="benchmark")
        self.order("cpr.fetch_jobs", "fetch", full=full, run_id=run_id)
        return run_id

    def sync(self, *, full: bool = True, seconds: float = 3600) -> float:
        """Fetch and push everything; return the seconds until nothing is due any more."""
        started = time.monotonic()
        run_id = self.fetch(full=full)
        wait_for(lambda: self.has_ended(run_id), seconds)
        return time.monotonic() - started

    def settle(self, seconds: float = 600) -> None:
        """Wait until no message is left, and none is being worked on."""
        wait_for(lambda: queue_lengths(self.env) == 0, seconds)

    def has_ended(self, run_id: int) -> bool:
        """Tell whether a fetch is recorded and all that it made due is pushed."""
        self.app.fetch.close()  # as `sync --wait` does: without beat no sweep closes a long run
        run, due = self.run(run_id), self.counts()["due"]
        if run.state == "failed":
            raise RuntimeError(run.note)
        return run.state == "done" and not due

    def run(self, run_id: int) -> Run:
        """Return a run."""
        with self.app.db.read() as conn:
            run = runs.get(conn, run_id)
        if run is None:
            raise RuntimeError("no run")
        return run

    def counts(self) -> dict[str, int]:
        """Count jobs by state."""
        with self.app.db.read() as conn:
            return links.counts(conn)


@contextmanager
def product(jobs: int, database_url: str = "") -> Iterator[System]:
    """Run the product against a sandbox of plain, clean jobs."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cpr-bench-")))
        sandbox = stack.enter_context(Sandbox(jobs=jobs, tricky=False))
        sandbox.qbt.switches.update({"rate_limit": MANY_CALLS})
        env = environment_at(
            place,
            **environment(sandbox.url),
            QBT_RATE_LIMIT=str(MANY_CALLS // 100),
            PUSH_MAX_FRACTION="1",  # no brake: everything changes at once here
            DATABASE_URL=database_url,
        )
        settings = config.load(env)
        app = Application(settings)
        schema.upgrade(app.db)
        stack.callback(app.db.close)
        stack.enter_context(_running(programs.all_programs(settings, env, beat=False)))
        yield System(env=env, app=app, sandbox=sandbox)


@contextmanager
def bare() -> Iterator[dict[str, str]]:
    """Run the bare pipeline's broker and workers; yields the environment to reach them."""
    with tempfile.TemporaryDirectory(prefix="cpr-bench-") as place:
        env = environment_at(Path(place), **environment("http://127.0.0.1:9"))
        programs_to_run = programs.all_programs(config.load(env), env, beat=False)
        with _running([_on_bare(program) for program in programs_to_run]):
            yield env


def send(env: dict[str, str], task: str, queue: str, kwargs: dict[str, object]) -> None:
    """Send a task to the workers of ``env``."""
    with Celery(broker=broker.broker_url(Path(env["CPR_VAR_DIR"])), set_as_current=False) as app:
        app.send_task(task, kwargs=kwargs, queue=queue)


@contextmanager
def broker_alone(sandbox_url: str) -> Iterator[dict[str, str]]:
    """Run a broker and nothing else; yields the environment to reach it and the sandbox."""
    with tempfile.TemporaryDirectory(prefix="cpr-bench-") as place:
        env = environment_at(Path(place), **environment(sandbox_url))
        with _running([broker.broker_program(Path(env["CPR_VAR_DIR"]))]):
            yield env


def _on_bare(program: Program) -> Program:
    """Let a worker of the same queue, name and size run the bare tasks instead."""
    if program.name == "broker":
        return program
    options = program.argv[program.argv.index("worker") :]
    celery = (sys.executable, "-m", "celery", "-A", "benchmarks.bare", "--quiet")
    rest = ("--without-mingle", "--without-gossip", "-l", "warning")
    return replace(program, argv=(*celery, *options, *rest), forked=False)


@contextmanager
def _running(programs_to_run: list[Program]) -> Iterator[None]:
    ready = threading.Event()
    lines: list[str] = []

    def take(event: Event) -> None:
        if event.kind == "all_ready":
            ready.set()
        elif event.kind in ("output", "died"):
            lines.append(f"{event.program}: {event.detail}")

    supervisor = Supervisor(programs_to_run, on_event=take)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        if not ready.wait(90):
            raise RuntimeError("\n".join(["not ready:", *lines[-20:]]))
        yield
    finally:
        supervisor.stop()
        thread.join()


def queue_lengths(env: dict[str, str]) -> int:
    """Return how many messages wait or are being worked on."""
    from redis import Redis

    path = broker.broker_url(Path(env["CPR_VAR_DIR"])).removeprefix("redis+socket://")
    client = Redis(unix_socket_path=path)
    try:
        waiting = sum(int(client.llen(queue)) for queue in programs.QUEUES)
        return waiting + int(client.hlen("unacked"))
    finally:
        client.close()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.1)


def environment_at(place: Path, **values: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    root = str(Path(__file__).parent.parent)
    return {**kept, "PYTHONPATH": root, "CPR_VAR_DIR": str(place / "var"), **values}
