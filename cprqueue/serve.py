"""``python -m cprqueue.serve``: a worker, beat, Flower or the board as ``up`` starts them.

Worker and beat are those of ``celery -A cprqueue worker`` and ``beat``. But Celery's command line
loads all of its commands with their plugins (Flower, a prompt) into each process: 0.4 s of
a processor each, and a whole system starts six. With two processors ``up`` is ready about a
second sooner without.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

LOG_LEVEL = "INFO"


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
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _beat(found: argparse.Namespace) -> int:
    from cprqueue.celery import app

    app.Beat(loglevel=LOG_LEVEL, schedule=found.schedule, quiet=True).run()
    return 0


def _web(found: argparse.Namespace) -> int:
    from cprqueue.cli import web

    web.serve(port=found.port, address=web.LOOPBACK, is_open=found.open)
    return 0


PROGRAMS = {"worker": _worker, "beat": _beat, "web": _web}


def _flower(words: Sequence[str]) -> int:
    """Run Flower through Celery's command line, which alone knows its options."""
    from cprqueue.celery import app

    app.start(argv=words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
