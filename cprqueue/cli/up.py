"""``cprqueue up``: the whole system on this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import typer

from cprqueue import config, log
from cprqueue.cli import console
from cprqueue.cli.program_log import ProgramLog
from cprqueue.errors import AlreadyRunning, ServiceUnreachable, UsageError
from cprqueue.runtime import broker, programs
from cprqueue.runtime.supervisor import Program, Supervisor
from cprqueue.store import schema
from cprqueue.store.database import Database

BROKER_PATIENCE_SECONDS = 10


def up(
    beat: Annotated[bool, typer.Option(help="Run the timetable.")] = True,
    flower: Annotated[bool, typer.Option(help="Run the dashboard.")] = True,
    flower_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 5555,
) -> None:
    """Start everything: broker, workers for all queues, beat, Flower. Ctrl-C ends it."""
    environ = config.environment()
    if config.log_format(environ) == "json":
        log.log_prints()  # so that an error of ours is a line of JSON as well
    settings = config.load(environ).require_services()
    if beat:  # before the port: a second `up` finds that taken too
        _raise_if_up(settings)
    port = free_port(flower_port) if flower else None
    programs_to_run = _prepare(settings, environ, beat=beat, flower_port=port)

    def all_ready() -> None:
        with suppress(console.OutputClosed, console.OutputFailed):  # nobody reads it
            console.say("ready")
        if port is not None:
            program_log.say(f"Flower: http://{programs.FLOWER_ADDRESS}:{port}/")
        program_log.say("Ctrl-C ends everything")

    program_log = ProgramLog(as_json=settings.log_format == "json", on_all_ready=all_ready)
    program_log.say(f"starting {', '.join(program.name for program in programs_to_run)}")
    raise typer.Exit(Supervisor(programs_to_run, on_event=program_log).run())


def free_port(port: int) -> int:
    """Return ``port``, or any free one for 0. Raises UsageError where it is taken."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((programs.FLOWER_ADDRESS, port))
        except OSError as error:
            raise UsageError(
                f"port {port} is not free for Flower ({error.strerror}): "
                "choose another with --flower-port, or --no-flower"
            ) from None
        return int(trial.getsockname()[1])


def _raise_if_up(settings: config.Settings) -> None:
    lock = settings.var_dir / "beat" / "lock"
    if not lock.exists():
        return
    try:
        programs.raise_if_locked(lock)
    except AlreadyRunning:
        raise UsageError(
            f"another `cprqueue up`, with a beat, is using {settings.var_dir}: end that one first"
        ) from None


def _prepare(
    settings: config.Settings,
    environ: Mapping[str, str],
    *,
    beat: bool,
    flower_port: int | None,
) -> list[Program]:
    """Do what has to be done once before the programs start: locks, broker, tables."""
    settings.make_var_dir()
    if full := settings.full_disk():
        raise ServiceUnreachable(full)
    try:
        programs_to_run = programs.all_programs(
            settings, environ, beat=beat, flower_port=flower_port
        )
    except AlreadyRunning as error:
        raise UsageError(str(error)) from None
    if not settings.broker_is_embedded:
        broker.wait_until_answering(settings.broker_url, BROKER_PATIENCE_SECONDS, programs.QUEUES)
    db = Database(settings.database_url)
    try:
        schema.upgrade(db)
    finally:
        db.close()
    return programs_to_run
