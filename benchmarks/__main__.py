"""``python -m benchmarks [--quick]``: print the table of all measurements."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from benchmarks.stage import bare, broker_alone, product, queue_lengths, wait_for
from cprqueue.domain.mapping import read_job
from cprqueue.sandbox.dataset import make_jobs
from cprqueue.sandbox.server import Sandbox

THROUGHPUT_JOBS = 3000
MEMORY_JOBS = 100_000
PADDING_BYTES = 5_000

Row = tuple[str, str, str, str]


def calls(jobs: int) -> Iterator[Row]:
    """Count the calls of a first and a second sync beside the least possible."""
    with product(jobs) as system:
        _, counts = system.sync()
        made = system.sandbox.client.call_count("qbt")
        least = 2 * math.ceil(counts["in_sync"] / 50) + 2
        yield f"calls, first sync of {jobs:,} jobs", f"{made}", f"{least}", f"{made / least:.3f}"
        seconds, _ = system.sync()
        again = system.sandbox.client.call_count("qbt") - made
        yield f"calls, complete fetch of {jobs:,} unchanged jobs", f"{again}", "0", ""
        yield f"seconds, complete fetch of {jobs:,} unchanged jobs", f"{seconds:.1f}", "", ""


def throughput(jobs: int) -> Iterator[Row]:
    """Compare jobs a second, end to end, with the bare two-message pipeline."""
    ours = _product_rate(jobs)
    yardstick = _bare_rate(jobs)
    ratio = f"{ours / yardstick:.2f}"
    yield f"jobs a second, end to end, {jobs:,} jobs", f"{ours:.0f}", f"{yardstick:.0f}", ratio


def _product_rate(jobs: int) -> float:
    with product(jobs) as system:
        seconds, counts = system.sync()
        return (counts["active"] + counts["inactive"]) / seconds


def _bare_rate(jobs: int) -> float:
    messages = [read_job(item).as_message() for item in make_jobs(jobs, tricky=False)]
    with bare() as env:
        code = (
            "import json, sys; from benchmarks.bare import emit; emit.delay(json.load(sys.stdin))"
        )
        subprocess.run(
            [sys.executable, "-c", code], env=env, check=True, text=True, input=json.dumps(messages)
        )
        started = time.monotonic()
        time.sleep(0.3)  # until the order is taken; it counts for the bare pipeline
        wait_for(lambda: queue_lengths(env) == 0, 600)
        return jobs / (time.monotonic() - started)


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
    number, peak = done.stdout.split()
    name = f"MB, fetch of {int(number):,} jobs of {PADDING_BYTES:,} bytes"
    yield name, peak, "150", f"{int(peak) / 150:.2f}"
    yield f"seconds, fetch of {int(number):,} jobs, all messages sent", f"{seconds:.0f}", "", ""


def main() -> None:
    """Run everything and print one table."""
    quick = "--quick" in sys.argv
    console = Console()
    table = Table("what", "measured", "yardstick", "ratio", title=f"{os.cpu_count()} cores")
    parts = [calls(1_000), throughput(1_000 if quick else THROUGHPUT_JOBS)]
    parts += [] if quick else [calls(10_000), memory(MEMORY_JOBS)]
    for part in parts:
        for row in part:
            console.print(" ".join(row), highlight=False)
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
