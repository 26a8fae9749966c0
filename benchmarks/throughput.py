"""Jobs a second, and CPU for each job, in turns with the bare two-message pipeline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.idle import processes
from benchmarks.measured import Row
from benchmarks.stage import System, bare, product, queue_lengths, send, wait_for
from cprqueue.domain.mapping import read_job
from cprqueue.sandbox.dataset import make_jobs

STAGES = ("fetch", "insert", "upsert", "broker", "maintenance")


@dataclass(slots=True)
class Cost:
    """Seconds, and CPU seconds by program, from its making until ``stop``."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _before: dict[str, float] = field(default_factory=lambda: cpu_by_program())

    def stop(self) -> Cost:
        """Take the end."""
        self.seconds = time.monotonic() - self._began
        after = cpu_by_program()
        self.cpu = {name: used - self._before.get(name, 0) for name, used in after.items()}
        return self

    def ms_a_job(self, jobs: int, *stages: str) -> float:
        """Return the CPU milliseconds for a job, of these programs or all."""
        return 1000 * sum(self.cpu.get(name, 0) for name in stages or self.cpu) / jobs


def cpu_by_program() -> dict[str, float]:
    """Return the CPU seconds of all programs below this process, which has the sandbox in it."""
    found: dict[str, float] = {}
    for process in processes(os.getpid()):
        if process.pid != os.getpid():
            found[process.name] = found.get(process.name, 0) + process.cpu_seconds
    return found


def first(system: System) -> Cost:
    """Measure the first sync, to the last push."""
    cost = Cost()
    system.sync()
    return cost.stop()


def unchanged(system: System) -> Cost:
    """Measure a complete fetch of what is on record already, once the queues are empty."""
    system.settle()
    cost = Cost()
    system.sync()
    system.settle()
    return cost.stop()


def bare_pipeline(jobs: int) -> Cost:
    """Measure the bare pipeline."""
    messages = [read_job(item).as_message() for item in make_jobs(jobs, tricky=False)]
    with bare() as env:
        cost = Cost()
        send(env, "bare.emit", "fetch", {"jobs": messages})
        wait_for(lambda: queue_lengths(env) > 0, 60)
        wait_for(lambda: queue_lengths(env) == 0, 3600)
        return cost.stop()


def rows(jobs: int, rounds: int, database: str, database_url: str = "") -> Iterator[Row]:
    """Compare both, round by round."""
    ours, again, others = [], [], []
    for _ in range(rounds):
        others.append(bare_pipeline(jobs))
        with product(jobs, database_url) as system:
            ours.append(first(system))
            again.append(unchanged(system))
    part, bare_name = f"throughput, {database}", "bare"
    rate = tuple(jobs / cost.seconds for cost in others)
    cpu = tuple(cost.ms_a_job(jobs) for cost in others)
    for name, costs in (("first sync", ours), ("unchanged, complete fetch", again)):
        yield Row(
            part=part,
            name=f"{name}, {jobs:,} jobs, {database}",
            unit="jobs a second",
            values=tuple(jobs / cost.seconds for cost in costs),
            yardstick=rate,
            yardstick_name=bare_name,
        )
        yield Row(
            part=part,
            name=f"{name}, {jobs:,} jobs, {database}",
            unit="CPU ms a job",
            values=tuple(cost.ms_a_job(jobs) for cost in costs),
            yardstick=cpu,
            yardstick_name=bare_name,
        )


def growth(sizes: tuple[int, ...]) -> Iterator[Row]:
    """Measure what a job costs each stage, beside what it costs at the least of the sizes."""
    least: dict[str, float] = {}
    for jobs in sizes:
        with product(jobs) as system:
            costs = {"first": first(system), "unchanged": unchanged(system)}
            costs["snapshot"] = snapshot(system)
        for name, value in _stages(costs, jobs).items():
            yield Row(
                part="growth",
                name=f"{name}, {jobs:,} jobs",
                unit="CPU ms a job",
                values=(value,),
                yardstick=(least.setdefault(name, value),),
                yardstick_name=f"at {sizes[0]:,}",
            )


def snapshot(system: System) -> Cost:
    """Measure a snapshot of all jobcodes and locations."""
    cost = Cost()
    before = _snapshots(system)
    system.order("cpr.snapshot_export", "maintenance")
    wait_for(lambda: _snapshots(system) > before, 3600)
    return cost.stop()


def _snapshots(system: System) -> int:
    from cprqueue.domain.states import RunKind, RunState
    from cprqueue.store import runs

    with system.app.db.read() as conn:
        run = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    return run.run_id if run else 0


def _stages(costs: dict[str, Cost], jobs: int) -> dict[str, float]:
    first, again = costs["first"], costs["unchanged"]
    return {
        "fetch": first.ms_a_job(jobs, "fetch"),
        "record, new": first.ms_a_job(jobs, "insert"),
        "record, unchanged": again.ms_a_job(jobs, "insert"),
        "push": first.ms_a_job(jobs, "upsert"),
        "broker": first.ms_a_job(jobs, "broker"),
        "snapshot": costs["snapshot"].ms_a_job(jobs, "maintenance"),
    }
