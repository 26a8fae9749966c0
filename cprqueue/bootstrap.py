"""Where the parts are put together: no other module knows all the classes.

An ``Application`` is made once in each process, after any fork; parts are built when they are
first needed, and so are their modules imported: a command needs few of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache, partial
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING

from cprqueue import alerts, config, failpoints
from cprqueue.errors import AccessStopped
from cprqueue.store.database import Database

if TYPE_CHECKING:
    from cprqueue.clients.budget import Budget
    from cprqueue.clients.qbtime import QuickBooksTime
    from cprqueue.clients.rm import RestorationManager
    from cprqueue.clients.token import Token
    from cprqueue.domain.active import ActiveRules
    from cprqueue.domain.alerting import Alert
    from cprqueue.domain.push_brake import PushLimits
    from cprqueue.services import wake_ups
    from cprqueue.services.alerting import Alerting
    from cprqueue.services.fetch.fetch import Fetch
    from cprqueue.services.plan.plan import Planner
    from cprqueue.services.prune.archive import Archive
    from cprqueue.services.prune.prune import Prune
    from cprqueue.services.prune.remove_all import RemoveAll
    from cprqueue.services.prune.undo import Undo
    from cprqueue.services.push.push import Push
    from cprqueue.services.resync import Resync
    from cprqueue.services.snapshot.snapshot import Pause, Snapshot
    from cprqueue.services.sweep import Sweep

PARTS = (
    "clients.rm",
    "clients.qbtime",
    "clients.token",
    "clients.transport",
    "services.alerting",
    "services.fetch.fetch",
    "services.plan.plan",
    "services.prune.hours",
    "services.prune.prune",
    "services.prune.remove_all",
    "services.prune.undo",
    "services.push.push",
    "services.resync",
    "services.snapshot.geocoding",
    "services.snapshot.snapshot",
    "services.sweep",
    "services.wake_ups",
)


def import_parts() -> None:
    """Import every part now: for a worker, whose children share what it has imported.

    Without, a child that begins after an upgrade would mix the new version with the old one.
    """
    for name in PARTS:
        import_module(f"cprqueue.{name}")


class Application:
    """Everything that a process needs, from one set of settings."""

    def __init__(self, settings: config.Settings | None = None) -> None:
        self.settings = settings or config.load()
        failpoints.arm(config.test_hook("CPR_FAILPOINTS"), self.settings.var_dir)

    def close(self) -> None:
        """Give back the connections of all databases; the next use makes new ones."""
        for part in ("db", "durable_db"):
            if part in vars(self):
                getattr(self, part).close()
        if "planner" in vars(self):
            self.planner.db.close()

    @cached_property
    def db(self) -> Database:
        """The database."""
        return Database(self.settings.database_url)

    @cached_property
    def durable_db(self) -> Database:
        """The database, waiting for the disk at each commit: for the push."""
        return Database(self.settings.database_url, durable=True) if self.db.is_sqlite else self.db

    @cached_property
    def rng(self) -> Random:
        """Randomness for jitter."""
        return Random()  # noqa: S311  (jitter guards nothing)

    @cached_property
    def rules(self) -> ActiveRules:
        """Which jobs are active."""
        from cprqueue.domain.active import ActiveRules

        return ActiveRules.build(
            site_ids=self.settings.rm_site_ids,
            statuses=self.settings.rm_active_statuses,
            inactive_progress=self.settings.rm_inactive_progress,
            excluded_numbers=self.settings.rm_excluded_job_numbers,
        )

    @cached_property
    def budget(self) -> Budget:
        """The call budget."""
        return self._budget(self.db)

    def _budget(self, db: Database) -> Budget:
        from cprqueue.clients.budget import Budget

        return Budget(
            db,
            limit=self.settings.qbt_rate_limit,
            window=self.settings.qbt_rate_window,
            rng=self.rng,
        )

    @cached_property
    def rm(self) -> RestorationManager:
        """The client for RestorationManager."""
        from cprqueue.clients.rm import CURES, RestorationManager
        from cprqueue.clients.transport import Transport

        settings = self.settings.require_services()
        return RestorationManager(
            Transport("RestorationManager", settings.rm_base_url, total_seconds=60, cures=CURES),
            username=settings.rm_username,
            password=settings.rm_password,
            secret=settings.rm_api_secret,
        )

    def qbt(self, *, urgent: bool = False, pause: Pause | None = None) -> QuickBooksTime:
        """Build a client for QuickBooks Time; an urgent one may use the reserve.

        With a ``pause`` it waits for calls that are used up, instead of raising OutOfCalls.
        """
        from cprqueue.clients.qbtime import QuickBooksTime
        from cprqueue.clients.transport import Transport

        settings = self.settings.require_services()

        def spend() -> AbstractContextManager[None]:
            return self.budget.call(urgent=urgent, pause=pause)

        return QuickBooksTime(
            Transport("QuickBooks Time", settings.qbt_base_url),
            token=self.token.current,
            renew=self.token.renew,
            spend=spend,
        )

    def qbt_before_tables(self) -> QuickBooksTime:
        """Build a client that reads the account before there are tables: for `check`."""
        return self._reader(lambda: self.settings.qbt_access_token, nullcontext)

    def _reader(
        self,
        token: Callable[[], str],
        spend: Callable[[], AbstractContextManager[None]],
        cure: str = "",
    ) -> QuickBooksTime:
        """Build a client that does not renew its token; ``cure``: said where it is refused."""
        from cprqueue.clients.qbtime import QuickBooksTime
        from cprqueue.clients.transport import Transport

        settings = self.settings.require_services()

        def renew(_refused: str) -> str:
            raise AccessStopped(f"QuickBooks Time does not accept QBT_ACCESS_TOKEN{cure}", 401)

        return QuickBooksTime(
            Transport("QuickBooks Time", settings.qbt_base_url),
            token=token,
            renew=renew,
            spend=spend,
        )

    @cached_property
    def token(self) -> Token:
        """The access token, renewed where the settings allow it."""
        return self._token(self.durable_db)

    def _token(self, db: Database) -> Token:
        from cprqueue.clients.token import Grant, Token
        from cprqueue.clients.transport import Transport

        settings = self.settings
        grant = Grant(
            access_token=settings.qbt_access_token,
            client_id=settings.qbt_client_id,
            client_secret=settings.qbt_client_secret,
            refresh_token=settings.qbt_refresh_token,
        )
        return Token(db, Transport("QuickBooks Time", settings.qbt_base_url), grant)

    @cached_property
    def fetch(self) -> Fetch:
        """Fetches."""
        from cprqueue.services.fetch.fetch import Fetch

        return Fetch(
            self.db,
            self.rm,
            self.settings.var_dir,
            lock_limit=self.settings.lease,
            push_limits=self.push_limits,
        )

    @cached_property
    def spared_wake_ups(self) -> wake_ups.Spared:
        """Which wake-ups this process sends for the jobs that it records."""
        from cprqueue.services import wake_ups

        return wake_ups.Spared()

    @cached_property
    def is_braked(self) -> Callable[[int], bool]:
        """Tell whether what a run makes due waits for its end; each run is looked up once."""
        from cprqueue.services import push_brake

        return lru_cache(maxsize=64)(partial(push_brake.is_braked, self.db))

    @property
    def push_limits(self) -> PushLimits:
        """The brake on pushes."""
        from cprqueue.domain.push_brake import PushLimits

        settings = self.settings
        return PushLimits(fraction=settings.push_max_fraction, minimum=settings.push_min_limit)

    @cached_property
    def planner(self) -> Planner:
        """Plans of a sync; they write nothing, and need no database."""
        from cprqueue.services.plan.plan import Planner
        from cprqueue.store import existing

        db = existing.opened(self.settings.database_url)
        budget, token = self._budget(db), self._token(db)

        def client(pause: Pause) -> QuickBooksTime:
            cure = ": put a valid one into .env; a plan renews none, because it writes nothing"
            return self._reader(token.stored, lambda: budget.call(pause=pause), cure)

        return Planner(
            db=db,
            rm=self.rm,
            client=client,
            rules=self.rules,
            budget=budget,
            limits=self.push_limits,
            timezone=self.settings.timezone,
        )

    @cached_property
    def push(self) -> Push:
        """The ordinary push."""
        return self._push(urgent=False)

    @cached_property
    def urgent_push(self) -> Push:
        """The push that may use the reserve of the call budget."""
        return self._push(urgent=True)

    def _push(self, *, urgent: bool) -> Push:
        from cprqueue.services.push.executor import Executor
        from cprqueue.services.push.push import Push

        work = Executor(
            db=self.durable_db,
            qbt=self.qbt(urgent=urgent),
            retry_base=self.settings.qbt_retry_base,
            max_attempts=self.settings.qbt_max_attempts,
            rng=self.rng,
        )
        return Push(
            db=self.durable_db,
            budget=self.budget,
            work=work,
            lease_time=self.settings.lease,
            urgent=urgent,
        )

    @cached_property
    def resync(self) -> Resync:
        """Resyncs of single jobs."""
        from cprqueue.services.resync import Resync

        return Resync(
            db=self.db,
            rm=self.rm,
            rules=self.rules,
            push=self.urgent_push,
            var_dir=self.settings.var_dir,
        )

    @cached_property
    def snapshot(self) -> Snapshot:
        """Snapshots."""
        from cprqueue.services.snapshot.snapshot import Snapshot

        return Snapshot(
            self.db,
            lambda pause: self.qbt(pause=pause),
            lock_limit=self.settings.lease,
        )

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep."""
        from cprqueue.services.sweep import Sweep

        return Sweep(
            db=self.db,
            qbt=self.qbt(),
            quiet=self.settings.lease,
            push_limits=self.push_limits,
        )

    @cached_property
    def archive(self) -> Archive:
        """Carries out plans."""
        from cprqueue.services.prune.archive import Archive

        return Archive(db=self.durable_db, qbt=self.qbt(), lease_time=self.settings.lease)

    @cached_property
    def prune(self) -> Prune:
        """Prunes."""
        from cprqueue.domain.prune_plan import Limits
        from cprqueue.services.prune.hours import QuietDays
        from cprqueue.services.prune.prune import Prune

        settings = self.settings
        return Prune(
            db=self.durable_db,
            qbt=self.qbt(),
            archive=self.archive,
            limits=Limits(
                fraction=settings.prune_max_fraction,
                minimum=settings.prune_min_limit,
                maximum=settings.prune_max_limit,
            ),
            quiet=QuietDays(days=settings.prune_quiet_days, timezone=settings.timezone),
        )

    @cached_property
    def remove_all(self) -> RemoveAll:
        """Remove-alls."""
        from cprqueue.services.prune.remove_all import RemoveAll

        return RemoveAll(
            db=self.durable_db,
            qbt=self.qbt(),
            archive=self.archive,
            budget=self.budget,
        )

    @cached_property
    def undo(self) -> Undo:
        """Undoes prunes and remove-alls."""
        from cprqueue.services.prune.undo import Undo

        return Undo(
            db=self.durable_db,
            qbt=self.qbt(),
            archive=self.archive,
            timezone=self.settings.timezone,
        )

    @cached_property
    def alerting(self) -> Alerting:
        """Alerts to people."""
        from zoneinfo import ZoneInfo

        from cprqueue.services.alerting import Alerting

        settings = self.settings
        return Alerting(
            db=self.db,
            urls=settings.alert_urls,
            send=send_alert,
            var_dir=settings.var_dir,
            digest_at=settings.digest,
            timezone=ZoneInfo(settings.timezone),
        )

    def call_monitor(self) -> None:
        """Tell the monitor outside, if there is one, that a sweep went well."""
        url = self.settings.alert_heartbeat_url
        if reason := alerts.beat(url) if url else "":
            log.warning("ALERT_HEARTBEAT_URL was not reached", extra={"reason": reason})


def send_alert(url: str, alert: Alert) -> str:
    """Send one alert to one URL; return why it did not go, or ""."""
    return alerts.send(url, title=alert.title, text=alert.text, level=alert.level)


log = logging.getLogger(__name__)
_lock = threading.Lock()
_application: Application | None = None


def application() -> Application:
    """Return this process's application, made at the first call."""
    global _application
    with _lock:
        if _application is None:
            _application = Application()
        return _application


def forget() -> None:
    """Drop the application; a forked child must not use its parent's connections."""
    global _application
    _application = None
