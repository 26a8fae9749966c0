"""From a change in RestorationManager to QuickBooks Time: quiet, and behind a long queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import quantiles

from sqlalchemy import select

from benchmarks.measured import Row
from benchmarks.stage import System, product, wait_for
from cprqueue.sandbox.dataset import is_active
from cprqueue.store.tables import links

APART_SECONDS = 0.5
RESYNCS = 8

Asked = dict[int, float]
"""When each job was changed, in Unix time."""


def rows(backlog: int, samples: int) -> Iterator[Row]:
    """Measure both, and a resync that overtakes."""
    with product(backlog) as system:
        system.sync()
        system.settle()
        jobs = [job for job in system.sandbox.rm.jobs() if is_active(job)]
        quiet, behind, overtaking = jobs[:samples], jobs[samples : 2 * samples], jobs[-RESYNCS:]
        yield from _row("quiet", "change to QuickBooks Time", _one_by_one(system, quiet))
        rest = jobs[2 * samples : -RESYNCS]
        system.sandbox.rm.put_jobs(_moved(rest))
        run_id = system.fetch()
        wait_for(lambda: system.run(run_id).state == "recording", 600)
        queue = f"behind {len(rest):,}"
        resyncs = _ask(system, overtaking, lambda job: _resync(system, job))
        changes = _ask(system, behind, lambda _job: system.fetch(full=False))
        yield from _row(queue, "resync", _answers(system, resyncs))
        yield from _row(queue, "change to QuickBooks Time", _answers(system, changes))


def _row(part: str, name: str, seconds: list[float]) -> Iterator[Row]:
    cuts = quantiles(seconds, n=20, method="inclusive")
    for word, value in (("p50", cuts[9]), ("p95", cuts[18])):
        text = f"{name}, {part}, {word}"
        yield Row(part=f"latency, {part}", name=text, unit="seconds", values=(value,))


def _one_by_one(system: System, jobs: list[dict[str, object]]) -> list[float]:
    found = []
    for job in jobs:
        asked = _ask(system, [job], lambda _job: system.fetch(full=False))
        found += _answers(system, asked)
    return found


def _resync(system: System, job: dict[str, object]) -> None:
    system.order("cpr.resync_job", "urgent", job=job["jobId"])


def _ask(
    system: System, jobs: list[dict[str, object]], order: Callable[[dict[str, object]], object]
) -> Asked:
    """Change each job and order what brings the change, one after the other."""
    asked: Asked = {}
    for job in jobs:
        system.sandbox.rm.put_jobs(_moved([job]))
        asked[int(str(job["jobId"]))] = time.time()
        order(job)
        time.sleep(APART_SECONDS)
    return asked


def _moved(jobs: list[dict[str, object]]) -> list[dict[str, object]]:
    return [job | {"jobAddress1": f"{job['jobId']} New St {time.time():.3f}"} for job in jobs]


def _answers(system: System, asked: Asked) -> list[float]:
    """Return after how many seconds each was recorded as done, by the database's clock."""
    wait_for(lambda: all(at > asked[job] for job, at in _pushed(system, asked).items()), 3600)
    return [at - asked[job] for job, at in _pushed(system, asked).items()]


def _pushed(system: System, asked: Asked) -> dict[int, float]:
    query = select(links.c.job_id, links.c.pushed_at).where(links.c.job_id.in_(asked))
    with system.app.db.read() as conn:
        return {row.job_id: _unix(row.pushed_at) for row in conn.execute(query)}


def _unix(moment: datetime | None) -> float:
    return moment.astimezone(UTC).timestamp() if moment else 0.0
