"""``python -m cprqueue.serve``: a worker, beat, Flower or the board as ``up`` starts them.

Worker and beat are those of ``celery -A cprqueue worker`` and ``beat``. But Celery's command line
loads all of its commands with their plugins (Flower, a prompt) into each process: 0.4 s of
a processor each. Where the system can, all of them are forked from one that has imported all
this (``runtime.fork_server``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

LOG_LEVEL = "INFO"

BROKER_PATIENCE_SECONDS = 10

HEARTBEAT_SECONDS = 20
"""How often a worker tells Flower that it is there; Flower misses it after twice that."""


def main(words: Sequence[str]) -> int:
    """Run the program that ``words`` name to its end; return its exit code.

    Whatever goes wrong on the way ends it in one line, as it does a command.
    """
    try:
        if words[:1] == ["flower"]:
            return _flower(words)
        found = _parser().parse_args(words)
        return PROGRAMS[found.program](found)
    except Exception as error:  # noqa: BLE001 - nothing of it is swallowed
        from cprqueue.cli import failing

        return failing.end(error, as_json=False)


def preload() -> None:
    """Import what a worker needs, and most of what beat and Flower do; nothing connects."""
    from celery import concurrency
    from celery.apps import beat, worker  # noqa: F401
    from kombu.transport import resolve_transport

    from cprqueue import bootstrap
    from cprqueue.celery import app, settings
    from cprqueue.store.database import Database

    concurrency.get_implementation(app.conf.worker_pool)
    resolve_transport(app.connection().transport_cls)
    app.loader.import_default_modules()
    bootstrap.import_parts()
    Database(settings.database_url)  # its driver


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cprqueue.serve")
    programs = parser.add_subparsers(dest="program", required=True)
    worker = programs.add_parser("worker")
    worker.add_argument("-Q", dest="queue", required=True)
    worker.add_argument("-n", dest="name", required=True)
    worker.add_argument("-c", dest="processes", type=int, required=True)
    beat = programs.add_parser("beat")
    beat.add_argument("--schedule", required=True)
    web = programs.add_parser("web")
    web.add_argument("--port", type=int, required=True)
    web.add_argument("--open", action="store_true", help="for the demo: no log-in")
    prepare = programs.add_parser("prepare")
    prepare.add_argument("--with-timetable", action="store_true")
    return parser


def _worker(found: argparse.Namespace) -> int:
    from celery import concurrency
    from celery.utils.nodenames import default_nodename, host_format

    from cprqueue.celery import app

    worker = app.Worker(
        hostname=host_format(default_nodename(found.name)),
        pool_cls=concurrency.get_implementation(app.conf.worker_pool),
        queues=[found.queue],
        concurrency=found.processes,
        loglevel=LOG_LEVEL,
        quiet=True,
        heartbeat_interval=HEARTBEAT_SECONDS,
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _beat(found: argparse.Namespace) -> int:
    from cprqueue.celery import app

    app.Beat(loglevel=LOG_LEVEL, schedule=found.schedule, quiet=True).run()
    return 0


def _prepare(found: argparse.Namespace) -> int:
    """Do what has to be done once before the others start: timetable, broker, tables.

    Not in ``up`` itself, which stays small that way: it never loads Celery or SQLAlchemy.
    """
    from cprqueue.celery import QUEUES, app, settings
    from cprqueue.runtime import broker, timetable
    from cprqueue.store import schema
    from cprqueue.store.database import Database

    if found.with_timetable:  # a beat that ends at each start would only be started again
        timetable.load(app)
    if not settings.broker_is_embedded:
        broker.wait_until_answering(settings.broker_url, BROKER_PATIENCE_SECONDS, QUEUES)
    db = Database(settings.database_url)
    try:
        schema.upgrade(db)
    finally:
        db.close()
    return 0


def _web(found: argparse.Namespace) -> int:
    from cprqueue.cli import web

    web.serve(port=found.port, address=web.LOOPBACK, is_open=found.open)
    return 0


PROGRAMS = {"worker": _worker, "beat": _beat, "web": _web, "prepare": _prepare}


def _flower(words: Sequence[str]) -> int:
    """Run Flower's own command, in the context that Celery's command line would give it."""
    import click
    from celery.bin.base import CLIContext
    from flower.command import flower

    from cprqueue.celery import app

    celery = click.Context(click.Command("celery"), obj=CLIContext(app, True, None))
    flower.main(list(words[1:]), "flower", standalone_mode=False, parent=celery)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
