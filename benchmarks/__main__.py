"""``python -m benchmarks``: print one table of all measurements; write JSON and a picture.

    --quick       small numbers, two rounds, some minutes
    --jobs N      compare with N jobs; --rounds N: so often, in turns; --sizes N...: growth
    --only PART   some of calls, throughput, alone, growth, latency, memory, idle, anchors
    --anchors     dramatiq and huey too, installed into a throw-away environment
    --json FILE, --svg FILE

PostgreSQL is measured where CPR_TEST_POSTGRES_URL names a server: it gets a database of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, make_url, text

from benchmarks import alone, anchors, chart, idle, latency, throughput
from benchmarks.measured import Row
from benchmarks.stage import broker_alone, product
from cprqueue.sandbox.server import Sandbox

PARTS = ("calls", "throughput", "alone", "growth", "latency", "memory", "idle", "anchors")
MEMORY_JOBS, QUICK_MEMORY_JOBS = 100_000, 5_000
PADDING_BYTES = 5_000
FLAT_MB = 100.0
POSTGRES = "CPR_TEST_POSTGRES_URL"


def calls(jobs: int) -> Iterator[Row]:
    """Count the calls of a first and a second sync beside the least possible."""
    with product(jobs) as system:
        system.sync()
        made = float(system.sandbox.client.call_count("qbt"))
        least = float(2 * math.ceil(system.counts()["in_sync"] / 50) + 2)
        yield Row(
            part="calls",
            name=f"first sync, {jobs:,} jobs",
            unit="calls",
            values=(made,),
            yardstick=(least,),
            yardstick_name="the least possible",
        )
        system.settle()
        system.sync()
        again = float(system.sandbox.client.call_count("qbt")) - made
        name = f"complete fetch, {jobs:,} unchanged jobs"
        yield Row(part="calls", name=name, unit="calls", values=(again,), yardstick=(0.0,))


def compared(jobs: int, rounds: int) -> Iterator[Row]:
    """Compare with the bare pipeline, on each database."""
    yield from throughput.rows(jobs, rounds, "SQLite")
    if server := os.environ.get(POSTGRES):
        with _new_database(server) as url:
            yield from throughput.rows(jobs, 1, "PostgreSQL", url)


@contextmanager
def _new_database(server: str) -> Iterator[str]:
    name = f"cpr_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def memory(jobs: int) -> Iterator[Row]:
    """Measure the peak memory of a fetch, the messages to the broker included."""
    with (
        Sandbox(jobs=jobs, tricky=False, padding_bytes=PADDING_BYTES) as sandbox,
        broker_alone(sandbox.url) as env,
    ):
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.memory"]
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        seconds = time.monotonic() - started
    peak = float(done.stdout.split()[1])
    name = f"fetch, {jobs:,} jobs of {PADDING_BYTES:,} bytes"
    yield Row(part="memory", name=name, unit="MB at most", values=(peak,), yardstick=(FLAT_MB,))
    yield Row(part="memory", name=name, unit="seconds, all messages sent", values=(seconds,))


def _measure(found: argparse.Namespace) -> Iterator[Row]:
    quick = found.quick
    rounds = found.rounds or (2 if quick else 5)
    jobs = found.jobs or (1_000 if quick else 3_000)
    sizes = found.sizes or ((500, 1_000) if quick else (1_000, 10_000, 100_000))
    chosen = found.only or [name for name in PARTS if name != "anchors" or found.anchors]
    parts = {
        "calls": lambda: calls(1_000 if quick else 10_000),
        "throughput": lambda: compared(jobs, rounds),
        "alone": lambda: alone.rows(jobs),
        "growth": lambda: throughput.growth(tuple(sizes)),
        "latency": lambda: latency.rows(1_000 if quick else 10_000, 8 if quick else 20),
        "memory": lambda: memory(QUICK_MEMORY_JOBS if quick else MEMORY_JOBS),
        "idle": lambda: idle.rows(30 if quick else 120),
        "anchors": lambda: anchors.rows(jobs, rounds),
    }
    for name in chosen:
        yield from parts[name]()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--anchors", action="store_true")
    parser.add_argument("--only", choices=PARTS, nargs="+")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    return parser.parse_args()


def _machine() -> str:
    load = os.getloadavg()[0]
    python = platform.python_version()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {python}, load {load:.1f} before"
    )


def main() -> None:
    """Measure, print, write."""
    found = _arguments()
    machine, console = _machine(), Console()
    rows = []
    for row in _measure(found):
        console.print(*row.cells(), sep="  ", highlight=False)
        rows.append(row)
        _write(found, machine, rows)
    table = Table("what", "measured", "beside", "ratio", title=machine)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


def _write(found: argparse.Namespace, machine: str, rows: list[Row]) -> None:
    """Write what is there so far: the whole takes long, and may be stopped."""
    for path, words in ((found.json, _document), (found.svg, chart.svg)):
        if path:
            path.parent.mkdir(exist_ok=True)
            path.write_text(words(rows, machine))


def _document(rows: list[Row], machine: str) -> str:
    return json.dumps({"machine": machine, "rows": [row.document() for row in rows]}, indent=1)


if __name__ == "__main__":
    main()
