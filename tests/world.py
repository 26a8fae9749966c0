"""The push in one thread: the real executor on a real database, and no network.

QuickBooks Time is the sandbox's account, called directly by the product's own client. It and the
database share one clock, which only ``World.wait`` moves, so that every run is the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Row, delete, event, func, select, update

from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.clients.transport import Reply, Transport
from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Desired, Job, Observed
from cprqueue.domain.push_item import read_item
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import LinkState
from cprqueue.errors import ServiceUnreachable
from cprqueue.sandbox.quickbooks_time import Account, Switches
from cprqueue.sandbox.wire import Request
from cprqueue.services.push import late_writes, orphaned_creates
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.executor import Executor
from cprqueue.services.record import record_in
from cprqueue.services.snapshot.snapshot import Snapshot
from cprqueue.store import app_state, clock_steps, leases, links, schema
from cprqueue.store import orphaned_creates as open_creates
from cprqueue.store.database import Database, clock
from cprqueue.store.patterns import begins_with
from cprqueue.store.tables import events, jobs, qbt_export, runs, state
from cprqueue.store.tables import links as link_rows

ANSWERED, LOST_BEFORE, LOST_AFTER = "answered", "lost before the act", "lost after the act"
LATE, LATE_AND_LOST = "after others took over", "after others took over, and lost"
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
BETWEEN_RINGS = timedelta(minutes=10)
"""Longer than any backoff and lease, so whoever is due is claimed by one of the next rings."""

LEASE = timedelta(minutes=2)
RULES = ActiveRules.build(
    site_ids=(), statuses=("Active",), inactive_progress=("Lost Lead",), excluded_numbers=()
)


class Clock:
    """The time, as the database and QuickBooks Time see it."""

    def __init__(self) -> None:
        self.now = START

    def julian_day(self, _word: str) -> float:
        """Stand in for SQLite's own ``julianday('now')``."""
        return self.now.timestamp() / 86400 + 2440587.5


def make_database(time: Clock) -> Database:
    """Build the tables in memory, on that clock."""
    db = Database("sqlite://")

    @event.listens_for(db.engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.create_function("julianday", 1, time.julian_day)

    schema.upgrade(db)
    return db


class Direct(Transport):
    """Requests to an account in this process; ``fates`` says which answers get lost."""

    def __init__(self, account: Account) -> None:
        super().__init__("QuickBooks Time", "http://127.0.0.1")
        self.account = account
        self.fates: Iterator[str] = iter(())
        self.requests = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """What others do before a late request arrives."""

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json_body: Any = None,
        form: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset({200}),
    ) -> Reply:
        """Send one request to the account, unless it gets lost; the client judges the status."""
        assert form is None
        what = f"{self.service}: {method} {path}"
        self.requests += 1
        fate = next(self.fates, ANSWERED)
        if fate == LOST_BEFORE:
            raise ServiceUnreachable(f"{what}: {fate}")
        late = fate in (LATE, LATE_AND_LOST)
        if late and method != "GET":
            self.meanwhile()
        given = {name.lower(): text for name, text in (headers or {}).items()}
        answer = self.account.handle(
            Request(
                method=method,
                path=path,
                query={name: str(value) for name, value in (params or {}).items()},
                headers={**given, "content-type": "application/json"},
                body=b"" if json_body is None else json.dumps(json_body).encode(),
            )
        )
        if late and method == "GET":
            self.meanwhile()
        assert answer.status in accept, answer
        if fate in (LOST_AFTER, LATE_AND_LOST):
            raise ServiceUnreachable(f"{what}: {fate}")
        return Reply(status=answer.status, body=answer.body, headers=answer.headers, what=what)


class World:
    """One account, one record, and all that happens to them; use one at a time on a database."""

    def __init__(self, db: Database, time: Clock, *, batch: int = 4) -> None:
        self.db, self.time, self.batch = db, time, batch
        time.now = START
        with db.begin() as conn:
            for table in (events, link_rows, jobs, qbt_export, runs, state):
                conn.execute(delete(table))
        switches = Switches(names_trimmed=False, rate_limit=1_000_000)
        self.account = Account(switches=switches, clock=lambda: time.now)
        self.transport = Direct(self.account)
        self.qbt = QuickBooksTime(
            self.transport, token=lambda: "sandbox-token", renew=str, spend=nullcontext
        )
        self.transport.meanwhile = self.ring
        self.work = Executor(
            db=db,
            qbt=self.qbt,
            retry_base=timedelta(seconds=1),
            max_attempts=1000,
            rng=Random(0),
        )

    def wait(self, by: timedelta = BETWEEN_RINGS) -> None:
        """Let this much time pass.

        The machine's own clock does not pass along, so what it was compared with is forgotten:
        or this would be a step of the database's clock.
        """
        self.time.now += by
        with self.db.begin() as conn:
            conn.execute(delete(state).where(begins_with(state.c.name, clock_steps.MARK)))

    # --- QuickBooks Time, as people made it ---

    def add_jobcode(self, name: str) -> int:
        """Make an active jobcode for everybody."""
        return self.account.add_jobcode(name=name, assigned_to_all=True)

    def add_location(self, address: Address, *jobcode_ids: int) -> int:
        """Make a location, linked to these jobcodes."""
        linked = {"jobcodes": list(jobcode_ids)}
        return self.account.add_location(**address.as_dict(), linked_objects=linked)

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the account holds."""
        return self.account.state()

    # --- our record ---

    def record(self, job_id: int, desired: Desired, *, active: bool = True) -> None:
        """Record the job as RestorationManager has it now."""
        progress = "Work in Progress" if active else "Lost Lead"
        job = Job(
            job_id=job_id,
            job_number=desired.name,
            job_name="",
            site_id=8,
            status="Active",
            progress=progress,
            address=desired.address,
        )
        with self.db.begin() as conn:
            sighting = Sighting(run_id=1, number=1, complete=False, observed_at=clock(conn))
            record_in(conn, RULES, job, sighting)

    def link(self, job_id: int, observed: Observed, *, verification: str | None = None) -> None:
        """Put on record what the job's jobcode is believed to be."""
        with self.db.begin() as conn:
            links.set_observed(conn, job_id, observed)
            own = update(link_rows).where(link_rows.c.job_id == job_id)
            conn.execute(own.values(verification=verification))

    def rows(self) -> dict[int, Row[Any]]:
        """Return every job with its link, by job id; a job without one has no state."""
        ours = {c.name for c in jobs.c} - {"state"}
        columns = [c for c in link_rows.c if c.name not in ours]
        table = jobs.outerjoin(link_rows, jobs.c.job_id == link_rows.c.job_id)
        own = (c for c in jobs.c if c.name != "state")
        named = (*own, jobs.c.state.label("address_state"))
        with self.db.read() as conn:
            return {
                row.job_id: row for row in conn.execute(select(*named, *columns).select_from(table))
            }

    def due(self) -> int:
        """Count the jobs that are due."""
        with self.db.read() as conn:
            where = link_rows.c.state == LinkState.DUE
            return int(conn.execute(select(func.count()).where(where)).scalar_one())

    # --- what workers do ---

    def snapshot(self) -> None:
        """Export the account."""
        Snapshot(self.db, lambda _pause: self.qbt).take()

    def lose(self, fates: Iterable[str]) -> None:
        """Say what becomes of the next requests."""
        self.transport.fates = iter(fates)

    def ring(self) -> None:
        """Claim a batch of due jobs, as ``Push`` does, and work on it.

        Every lease of before has expired by then, also that of a request which is under way.
        """
        self.wait()
        with self.db.begin() as conn:
            now = clock(conn)
            batch = Batch(db=self.db, lease=now.isoformat(), lease_time=LEASE)
            rows = leases.claim(conn, batch.lease, now=now, limit=self.batch, until=now + LEASE)
            batch.items.update((row.job_id, read_item(row)) for row in rows)
        self.work.do(batch)
        batch.close()

    def settle(self) -> None:
        """Link what was created for jobs that closed meanwhile, as the sweep does."""
        self.wait()
        orphaned_creates.settle(self.db, self.qbt, quiet=timedelta(0))

    def orphaned(self) -> int:
        """Count the creates of closed jobs, and the late ones, whose outcome is still unknown."""
        with self.db.read() as conn:
            late = app_state.with_prefix(conn, late_writes.PREFIX)
            return len(late) + len(
                open_creates.unsettled(conn, now=clock(conn), quiet=timedelta(0))
            )


__all__ = [
    "ANSWERED",
    "LATE",
    "LATE_AND_LOST",
    "LOST_AFTER",
    "LOST_BEFORE",
    "Clock",
    "World",
    "make_database",
]
