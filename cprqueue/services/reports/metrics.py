"""What ``cprqueue metrics`` says to Prometheus: from the database alone, in one transaction.

No label holds a job, a number or an address; each has few, known values.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from cprqueue.clients.budget import Budget
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import gates
from cprqueue.store import links, measures, runs
from cprqueue.store.database import Database, clock

RECENT = timedelta(hours=1)
BUCKETS = (15, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
"""Upper bounds in seconds: from one push at once to a day."""


def text(db: Database, budget: Budget) -> bytes:
    """Return all metrics in Prometheus' text format. Raises what the database raises."""
    with db.read() as conn:
        found = list(_families(conn, db, budget))
    registry = CollectorRegistry()
    registry.register(_Collected(found))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        """Give what was read."""
        return self.families


def _families(conn: Connection, db: Database, budget: Budget) -> Iterator[Metric]:
    now = clock(conn)
    yield _build(db)
    yield from _jobs(conn, now)
    yield from _pushes(conn, now - RECENT)
    yield from _gates(conn)
    yield from _calls(conn, budget)
    yield from _runs(conn)


def _build(db: Database) -> Metric:
    build = {"version": version("cprqueue"), "python": platform.python_version()}
    labels = {**build, "database": db.engine.dialect.name}
    return InfoMetricFamily("cprqueue_build", "What is installed.", value=labels)


def _jobs(conn: Connection, now: datetime) -> Iterator[Metric]:
    numbers = links.counts(conn)
    active = numbers.pop("active")
    yield _gauge("active_jobs", "Jobs that are active in RestorationManager.", active)
    help_text = "Jobs by the state of their push; inactive: those that are not pushed."
    yield _by("jobs", help_text, "state", numbers)
    oldest = measures.oldest_due(conn)
    age = max(0.0, (now - oldest).total_seconds()) if oldest else 0
    help_text = "Age in seconds of what is due for longest; 0 where nothing is due."
    yield _gauge("oldest_due_seconds", help_text, age)


def _pushes(conn: Connection, since: datetime) -> Iterator[Metric]:
    help_text = "Attempts to push a job that ended in the last hour, by outcome."
    yield _by("pushes_last_hour", help_text, "outcome", measures.pushes(conn, since=since))
    delays = measures.push_delays(conn, since=since)
    counts = [sum(n for d, n in delays if d.total_seconds() <= bound) for bound in BUCKETS]
    total = sum(number for _, number in delays)
    yield HistogramMetricFamily(
        "cprqueue_push_delay_seconds",
        "Seconds from asking RestorationManager, which showed a change, to QuickBooks Time; "
        "changes pushed in the last hour.",
        buckets=[*zip(map(str, map(float, BUCKETS)), counts, strict=True), ("+Inf", total)],
        sum_value=sum(d.total_seconds() * n for d, n in delays),
    )


def _gates(conn: Connection) -> Iterator[Metric]:
    stopped, suspended = gates.push_stopped(conn), gates.suspended(conn)
    help_text = "1 while QuickBooks Time refuses the account, so that nothing is pushed."
    yield _gauge("push_stopped", help_text, stopped is not None)
    help_text = "1 after a remove-all, while nothing is pushed because of it."
    yield _gauge("push_suspended", help_text, suspended is not None)


def _calls(conn: Connection, budget: Budget) -> Iterator[Metric]:
    free = budget.free(conn)
    yield _gauge("calls_limit", "Calls to QuickBooks Time allowed in a window.", budget.limit)
    yield _gauge("calls_used", "Calls used in the present window.", budget.limit - free)
    yield _gauge("calls_free", "Calls left in the present window.", free)
    seconds = budget.window_ms / 1000
    yield _gauge("calls_window_seconds", "Length of the window in seconds.", seconds)
    made = CounterMetricFamily("cprqueue_calls", "Calls to QuickBooks Time ever made.")
    made.add_metric([], budget.calls_so_far(conn))
    yield made


def _runs(conn: Connection) -> Iterator[Metric]:
    found = measures.runs_by_kind(conn)
    family = GaugeMetricFamily(
        "cprqueue_runs", "Runs on record by kind and state.", labels=["kind", "state"]
    )
    for kind in RunKind:  # zeros too: an increase is seen only where there was a value before
        for state in RunState:
            family.add_metric([kind, state], found.get((kind, state), 0))
    yield family
    help_text = "When the newest run that succeeded asked or ended; its age is time() minus this."
    yield _by("last_success_timestamp_seconds", help_text, "kind", _successes(conn))


def _successes(conn: Connection) -> dict[str, float]:
    """Return when each kind last succeeded; what never did is missing."""
    done = RunState.DONE
    newest = {
        "fetch": runs.newest(conn, RunKind.FETCH, done),
        "complete_fetch": runs.newest(conn, RunKind.FETCH, done, complete=True),
        "snapshot": runs.newest(conn, RunKind.SNAPSHOT, done),
        "prune": runs.newest(conn, RunKind.PRUNE, done),
    }
    moments = {k: run.observed_at or run.finished_at for k, run in newest.items() if run}
    return {kind: moment.timestamp() for kind, moment in moments.items() if moment}


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"cprqueue_{name}", help_text, value=value)


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"cprqueue_{name}", help_text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family
