"""dramatiq and huey with two empty messages a job, for scale: in a throw-away environment.

They are no dependency, and nothing of them stays: ``python -m benchmarks --anchors`` installs them
for the measurement. Both get the embedded broker, two processes of one thread each, and the
messages of the bare pipeline; what they promise differs (neither keeps a message that a killed
worker held; dramatiq does after its heartbeat).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

from redis import Redis

from benchmarks.measured import Row
from benchmarks.stage import broker_alone, wait_for
from cprqueue.domain.mapping import read_job
from cprqueue.runtime import broker
from cprqueue.sandbox.dataset import make_jobs

PACKAGES = ("dramatiq[redis]==2.0.1", "huey==2.6.0", "redis")
DONE = "anchor-done"

DRAMATIQ = """
import json, sys
import dramatiq, redis
from dramatiq.brokers.redis import RedisBroker
client = redis.Redis(unix_socket_path={socket!r})
dramatiq.set_broker(RedisBroker(client=client))

@dramatiq.actor(queue_name="second")
def second(job_id):
    client.incr({done!r})

@dramatiq.actor(queue_name="first")
def first(job):
    second.send(job["job_id"])

def emit():
    for job in json.load(sys.stdin):
        first.send(job)
"""

HUEY = """
import json, sys
from redis import ConnectionPool, UnixDomainSocketConnection
from huey import RedisHuey
pool = ConnectionPool(connection_class=UnixDomainSocketConnection, path={socket!r})
app = RedisHuey("anchor", connection_pool=pool, results=False)

@app.task()
def second(job_id):
    app.storage.conn.incr({done!r})

@app.task()
def first(job):
    second(job["job_id"])

def emit():
    for job in json.load(sys.stdin):
        first(job)
"""

TOOLS = {
    "dramatiq": (DRAMATIQ, ("-m", "dramatiq", "anchor", "--processes", "2", "--threads", "1")),
    "huey": (HUEY, ("-m", "huey.bin.huey_consumer", "anchor.app", "-w", "2", "-k", "process")),
}


def rows(jobs: int, rounds: int) -> Iterator[Row]:
    """Measure each of them, each as often."""
    with tempfile.TemporaryDirectory(prefix="cpr-bench-") as place:
        venv.create(place, with_pip=True)
        python = str(Path(place) / "bin" / "python")
        install = (python, "-m", "pip", "install", "--quiet", *PACKAGES)
        subprocess.run(install, check=True)
        for name in TOOLS:
            rates = tuple(jobs / _seconds(name, python, jobs) for _ in range(rounds))
            yield Row(
                part="anchors",
                name=f"{name}, two empty messages, {jobs:,} jobs",
                unit="jobs a second",
                values=rates,
            )


def _seconds(name: str, python: str, jobs: int) -> float:
    code, words = TOOLS[name]
    messages = json.dumps([read_job(item).as_message() for item in make_jobs(jobs, tricky=False)])
    with broker_alone("http://127.0.0.1:9") as env, tempfile.TemporaryDirectory() as place:
        socket = broker.broker_url(Path(env["CPR_VAR_DIR"])).removeprefix("redis+socket://")
        Path(place, "anchor.py").write_text(code.format(socket=socket, done=DONE))
        client = Redis(unix_socket_path=socket)
        worker = subprocess.Popen(
            (python, *words), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            emit = (python, "-c", "import anchor; anchor.emit()")
            started = time.monotonic()
            subprocess.run(emit, cwd=place, input=messages, text=True, check=True)
            wait_for(lambda: int(client.get(DONE) or 0) >= jobs, 600)
            return time.monotonic() - started
        finally:
            worker.send_signal(SIGTERM)
            worker.wait()
            client.close()


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]), 1):
        print(row.cells())
