"""``cprqueue up``: the whole system on this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from cprqueue import config, log, streams
from cprqueue.cli import console
from cprqueue.cli.canaries import Canaries
from cprqueue.cli.program_log import ProgramLog
from cprqueue.errors import AlreadyRunning, ServiceUnreachable, UsageError
from cprqueue.runtime import broker, programs
from cprqueue.runtime.supervisor import Event, Program, Starter, Supervisor
from cprqueue.runtime.supervisor.process import kill_group


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
    settings.make_var_dir()
    starter = Starter()
    first = programs.preparation(environ, beat=beat)
    starter.prepare(first)
    try:
        with _alone(settings, beat=beat):
            port = free_port(flower_port) if flower else None
            if full := settings.full_disk():
                raise ServiceUnreachable(full)
            programs_to_run = programs.all_programs(settings, environ, beat=beat, flower_port=port)
            code = _run_once(first, starter) or _run(programs_to_run, port, settings, starter)
    except AlreadyRunning as error:
        raise UsageError(str(error)) from None
    raise typer.Exit(code)


def _alone(settings: config.Settings, *, beat: bool) -> AbstractContextManager[None]:
    """Return the lock to hold from before the first look at what else runs; up to the end.

    Whoever brings neither a broker nor a beat may work beside others.
    """
    exclusive = beat or settings.broker_is_embedded
    return programs.only_one(settings.var_dir) if exclusive else nullcontext()


def _run_once(program: Program, starter: Starter) -> int:
    """Run ``program`` to its end and print what it says; return its exit code."""
    process = starter.start(program)
    try:
        with process.stdout or nullcontext() as output:
            said = output.read() if output else b""
        code = process.wait()
    except BaseException:
        kill_group(process.pid)
        raise
    streams.Lossy(2).write(said)
    return code


def _run(
    programs_to_run: list[Program], port: int | None, settings: config.Settings, starter: Starter
) -> int:
    def all_ready() -> None:
        try:
            console.say("ready")
        except (console.OutputClosed, console.OutputFailed):
            console.give_up_output()  # nobody reads it
        if port is not None:
            program_log.say(f"Flower: http://{programs.FLOWER_ADDRESS}:{port}/")
        program_log.say("Ctrl-C ends everything")

    def take(event: Event) -> None:
        canaries.take(event)
        program_log(event)

    program_log = ProgramLog(as_json=settings.log_format == "json", on_all_ready=all_ready)
    supervisor = Supervisor(programs_to_run, on_event=take, starter=starter)
    url = settings.broker_url or broker.broker_url(settings.var_dir)
    canaries = Canaries(url=url, restart=supervisor.restart, say=program_log.say)
    program_log.say(f"starting {', '.join(program.name for program in programs_to_run)}")
    if (limit := programs.open_files_limit()) < programs.ENOUGH_FILES:
        program_log.say(
            f"warning: only {limit} files may be open at once, too few for so many connections: "
            f"allow {programs.ENOUGH_FILES} or more (ulimit -n, LimitNOFILE=)"
        )
    canaries.start()
    try:
        return supervisor.run()
    finally:
        canaries.end()
        program_log.close()


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
