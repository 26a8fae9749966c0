"""The Celery app: explicit settings, queues and routes.

``celery -A cprqueue worker``, ``beat``, ``flower`` and ``call`` find it from any directory, where
cprqueue is installed. Beat alone loads the timetable (``runtime.timetable``). Messages carry
work; the database is the truth. There is no result backend: outcomes stand in the tables.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Any

from celery import Celery, Task, signals

from cprqueue import bootstrap, config, log, private_files, streams
from cprqueue.errors import CprqueueError, DatabaseUnavailable, SettingsError
from cprqueue.runtime import (
    amqp_transport,
    beat_ticks,
    broker,
    broker_link,
    heartbeat_patch,
    kombu_patch,
    requests,
    task_labels,
)
from cprqueue.services import repeated_orders
from cprqueue.settings import broker_address

QUEUES = ("fetch", "insert", "upsert", "urgent", "maintenance")

ROUTES = {
    "cpr.fetch_jobs": {"queue": "fetch"},
    "cpr.insert_job": {"queue": "insert"},
    "cpr.upsert_job": {"queue": "upsert"},
    "cpr.resync_job": {"queue": "urgent"},
    "cpr.sweep": {"queue": "maintenance"},
    "cpr.read_geocoding": {"queue": "maintenance"},
    "cpr.snapshot_and_prune": {"queue": "maintenance"},
    "cpr.snapshot_export": {"queue": "maintenance"},
    "cpr.prune_inactive": {"queue": "maintenance"},
    "cpr.remove_all": {"queue": "maintenance"},
    "cpr.undo": {"queue": "maintenance"},
}

VISIBILITY_SECONDS = 600
"""A message whose worker died comes back after this. Longer than any time limit."""

WAIT_SECONDS = 5
"""How long a worker waits for a message before it asks its Redis or Valkey again."""

SILENCE_SECONDS = 10
"""How often a worker asks its broker for a sign of life; after two that fail it connects anew."""

LONG_TASK_SECONDS = 3600
"""Limit of the tasks that may rightly take long; they are safe to run twice meanwhile."""

CANARY = "cprqueue.canary"
"""The task that shows that a queue moves; it goes to any of them."""

READY = "cprqueue.ready"

REPORT_EVERY_SECONDS = 60
_reported_at = -math.inf

_ending = mmap(-1, 1)  # memory that a worker shares with its pool of processes

# Celery warns root because of pickled messages, which would run as code; here they are JSON.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")


def celery_settings(settings: config.Settings) -> dict[str, Any]:
    """Return every Celery setting that we use; a test checks that each name exists.

    What is not here is Celery's default on purpose.
    """
    address = broker_address.read(settings.broker_url or broker.broker_url(settings.var_dir))
    transport = broker_link.transport_options(address)
    if not address.amqp:
        transport |= {
            "visibility_timeout": VISIBILITY_SECONDS,
            # By default lost messages are restored every 100 s only.
            "polling_interval": WAIT_SECONDS,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            # A connection that has fallen silent is found within twice this.
            "health_check_interval": SILENCE_SECONDS,
            "socket_keepalive": not settings.broker_is_embedded,
        }
    return {
        "broker_url": address.url,
        "broker_use_ssl": broker_link.tls(address),
        "broker_heartbeat": SILENCE_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": transport,
        "task_queues": broker_link.task_queues(QUEUES),
        "task_routes": ROUTES,
        "task_default_queue": "maintenance",
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        # Once more, on a new connection; what cannot be sent then is sent by the sweep.
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # Every handler may run twice, so a message is only given up when its work is done.
        "task_acks_late": True,
        "task_retry_on_worker_lost": True,
        "task_soft_time_limit": 180,
        "task_time_limit": 240,
        "worker_consumer": "cprqueue.runtime.consumer:Consumer",
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_max_tasks_per_child": 20_000,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "timezone": settings.timezone,
        "enable_utc": True,
        # The state file is written after each task, so a killed beat forgets nothing.
        "beat_sync_every": 1,
        "beat_max_loop_interval": beat_ticks.tick_seconds(),
        "beat_scheduler": "cprqueue.runtime.beat_state:Scheduler",
        "beat_schedule_filename": str(settings.var_dir / "beat" / "schedule"),
        "include": [
            "workers.fetch",
            "workers.insert",
            "workers.upsert",
            "workers.maintenance",
            "workers.canary",
            "workers.silent_beat",
        ],
    }


class _App(Celery):  # type: ignore[misc]  # Celery ships no types
    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send a message; in Flower it shows what it is for."""
        if "argsrepr" not in options:
            shown = task_labels.label(name, args or (), kwargs or {})
            options |= {"argsrepr": shown, "kwargsrepr": ""}
        options = requests.options_of_beat(options)
        if countdown := options.get("countdown"):
            headers = options.get("headers") or {}
            options["headers"] = {**headers, requests.COUNTDOWN: countdown}
        return super().send_task(name, args, kwargs, **options)

    def Worker(self, *args: Any, **options: Any) -> Any:  # noqa: N802  (Celery's name)
        """Make a worker that goes on where nobody can read what it prints."""
        streams.protect_output()
        return super().Worker(*args, **options)

    def Beat(self, **options: Any) -> Any:  # noqa: N802  (Celery's name)
        """Make beat, without its banner where lines are JSON."""
        streams.protect_output()
        beat = self.subclass_with_self("celery.apps.beat:Beat")
        return beat(**options | ({"quiet": True} if settings.log_format == "json" else {}))


class CprTask(Task):  # type: ignore[misc]  # Celery ships no types
    """What all tasks share: errors that we raise on purpose are logged as one line.

    No task is given up because the database was away.
    """

    Request = "cprqueue.runtime.requests:Request"
    throws = (CprqueueError,)
    max_retries = None
    # Whatever a task was at when its database went away: its message comes again until it is back.
    autoretry_for = (DatabaseUnavailable,)
    retry_backoff = True
    retry_backoff_max = 30

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Carry the task out, unless it is an order of beat that was carried out just now."""
        if self._is_repeated(kwargs):
            return "dropped: it was carried out just now"
        return super().__call__(*args, **kwargs)

    def _is_repeated(self, kwargs: Mapping[str, Any]) -> bool:
        seconds = getattr(self.request, requests.EXPIRES, None)
        again = self.request.retries or (self.request.delivery_info or {}).get("redelivered")
        if not seconds or again:
            return False  # begun before, and not ended: a retry carries the same headers
        try:
            db = bootstrap.application().db
            return repeated_orders.carried_out(db, self.name, kwargs, seconds=seconds)
        except DatabaseUnavailable:
            return False  # the task meets it too, and comes again

    def on_failure(self, exc: BaseException, *_: Any) -> None:
        """Report a database that is away; other errors are on record in the tables."""
        _report_lost_database(exc)

    on_retry = on_failure


def _report_lost_database(error: BaseException) -> None:
    """Log one line, at most once a minute in each process: every waiting message meets it."""
    global _reported_at
    if (
        isinstance(error, DatabaseUnavailable)
        and time.monotonic() - _reported_at > REPORT_EVERY_SECONDS
    ):
        _reported_at = time.monotonic()
        logging.getLogger(__name__).error(str(error))


def build(settings: config.Settings) -> Celery:
    """Build the app from settings."""
    kombu_patch.install()
    amqp_transport.install()
    heartbeat_patch.install()
    made = _App("cprqueue", task_cls=CprTask)
    made.conf.update(celery_settings(settings))
    return made


def _load() -> config.Settings:
    ours = bool(logging.getLogger().handlers)  # Celery's own commands set up no log before
    streams.fill_descriptors()
    try:
        if not ours:
            log.set_up(
                config.log_format(), logging.WARNING, patience_seconds=streams.PATIENCE_SECONDS
            )
            if config.log_format() == "json":
                log.log_prints()
        found = config.load()
        config.leave_nothing_to_celery()
        private_files.keep_new_files_private()
        found.make_var_dir()
        if not ours:  # Flower never asks how to log: its tracebacks are files as well
            _log_to(found, logging.WARNING)
        return found
    except SettingsError as error:
        if ours:
            raise
        print(error, file=sys.stderr)  # noqa: T201  (nothing is set up to log with yet)
        raise SystemExit(error.exit_code) from None


def _log_to(found: config.Settings, level: int) -> None:
    log.set_up(
        found.log_format,
        level,
        crash_directory=found.var_dir,
        patience_seconds=streams.PATIENCE_SECONDS,
    )


settings = _load()
app = build(settings)


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    level = loglevel if isinstance(loglevel, int) else logging.INFO
    _log_to(settings, level)
    logging.getLogger(READY).setLevel(logging.INFO)
    # Told at each lost connection: whether running tasks are cut off then is decided above.
    logging.getLogger("py.warnings").addFilter(
        lambda record: "CPendingDeprecationWarning" not in record.getMessage()
    )
    # Each task's receipt and end are events in Flower; a line each would drown the log.
    if level > logging.DEBUG:
        logging.getLogger("celery").setLevel(max(level, logging.WARNING))


@signals.worker_ready.connect
@signals.beat_init.connect
def _log_ready(**_: Any) -> None:
    """Whoever waits for a worker or for beat reads this line, at any log level."""
    logging.getLogger(READY).info("at work")


@signals.task_prerun.connect
def _bind(task_id: str, task: Any, kwargs: Mapping[str, Any], **_: Any) -> None:
    job = kwargs.get("job")  # the task that records a job carries all of it
    job_id = job.get("job_id") if isinstance(job, Mapping) else job
    log.bind_task(run_id=kwargs.get("run_id"), job=job_id, task=task.name, task_id=task_id)


@signals.task_postrun.connect
def _unbind(**_: Any) -> None:
    log.bind_task()


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    bootstrap.forget()


@signals.worker_shutting_down.connect
def _note_shutdown(**_: Any) -> None:
    _ending[0] = 1


def ending() -> bool:
    """Tell whether this process's worker was asked to end: who only waits should give up."""
    return _ending[0] == 1


def _nothing_but_json(worker: Any) -> None:
    """Keep a worker from its banner, and from plain words when it is asked to end."""
    worker.quiet = True
    log.log_prints(out=True)


def _end_without_a_reader(say: Callable[..., None]) -> None:
    """Let the handler of SIGTERM say that the worker ends without waiting for a reader."""
    from celery.apps import worker as program

    program.safe_say = say


@signals.worker_init.connect
def _share_with_pool(**_: Any) -> None:
    """Leave what was imported alone: what the collector writes to is not shared with children."""
    global _ending
    _ending = mmap(-1, 1)
    gc.collect()
    gc.freeze()


@signals.celeryd_init.connect
def _check_settings(instance: Any = None, **_: Any) -> None:
    """A worker with missing settings ends at once with one line for each."""
    bootstrap.import_parts()
    as_json = settings.log_format == "json"
    _end_without_a_reader(log.write_line if as_json else log.write_text)
    if as_json:
        _nothing_but_json(instance)
    try:
        settings.require_services()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from None
