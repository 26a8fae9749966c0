"""``cprqueue up``: the whole system on this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from cprqueue import config, log, streams
from cprqueue.cli.canaries import Canaries
from cprqueue.cli.program_log import ProgramLog
from cprqueue.cli.silences import Silences
from cprqueue.errors import AlreadyRunning, ServiceUnreachable, UsageError
from cprqueue.runtime import beat_ticks, broker, programs
from cprqueue.runtime.supervisor import Event, Program, Starter, Supervisor
from cprqueue.runtime.supervisor.process import kill_group


def up(
    beat: Annotated[bool, typer.Option(help="Run the timetable.")] = True,
    flower: Annotated[bool, typer.Option(help="Run the dashboard.")] = True,
    flower_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 5555,
    web: Annotated[bool, typer.Option(help="Run the board, if CPR_WEB_USERS is set.")] = True,
) -> None:
    """Start everything: broker, workers, beat, Flower, and the board. Ctrl-C ends it."""
    _hear_sigterm()
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
            board = _board(settings) if web else None
            if full := settings.full_disk():
                raise ServiceUnreachable(full)
            programs_to_run = programs.all_programs(
                settings, environ, beat=beat, flower_port=port, web=board
            )
            where = _places(settings, port, board, web=web)
            code = _run_once(first, starter) or _run(programs_to_run, where, settings, starter)
    except AlreadyRunning as error:
        raise UsageError(str(error)) from None
    raise typer.Exit(code)


def _hear_sigterm() -> None:
    """End on SIGTERM before the supervisor hears it: nothing is running that would outlive us.

    The kernel keeps it from a container's first process, unless there is a handler.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))


def _alone(settings: config.Settings, *, beat: bool) -> AbstractContextManager[None]:
    """Return the lock to hold from before the first look at what else runs; up to the end.

    Whoever brings neither a broker nor a beat may work beside others.
    """
    exclusive = beat or settings.broker_is_embedded
    return programs.only_one(settings.var_dir) if exclusive else nullcontext()


def _board(settings: config.Settings) -> programs.Web | None:
    """Return the board where somebody may log in to it. Raises UsageError for a port in use."""
    if not settings.web_users:
        return None
    return programs.Web(port=free_port(settings.web_port, "the board", "CPR_WEB_PORT, or --no-web"))


def _places(
    settings: config.Settings, flower_port: int | None, board: programs.Web | None, *, web: bool
) -> list[str]:
    """Say where Flower and the board are, a line each."""
    found = []
    if flower_port is not None:
        found.append(f"Flower: http://{programs.LOOPBACK}:{flower_port}/")
    if board is not None:
        url = settings.web_url or f"http://{programs.LOOPBACK}:{board.port}/"
        found.append(f"the board: {url}")
    elif web:
        found.append("the board is off: `cprqueue web-user NAME` makes a line for CPR_WEB_USERS")
    return found


def _run_once(program: Program, starter: Starter) -> int:
    """Run ``program`` to its end and print what it says, as it says it; return its exit code."""
    process, lossy = starter.start(program), streams.Lossy(2)
    try:
        with process.stdout or nullcontext() as output:
            for line in output or ():
                lossy.write(line)
        return process.wait()
    except BaseException:
        kill_group(process.pid)
        raise


def _run(
    programs_to_run: list[Program],
    places: list[str],
    settings: config.Settings,
    starter: Starter,
) -> int:
    def all_ready() -> None:
        program_log.say_out("ready")
        for place in places:
            program_log.say(place)
        program_log.say(
            "Ctrl-C ends everything; in another terminal: `cprqueue sync`, `cprqueue status`"
        )

    def take(event: Event) -> None:
        canaries.take(event)
        program_log(event)

    program_log = ProgramLog(as_json=settings.log_format == "json", on_all_ready=all_ready)
    supervisor = Supervisor(programs_to_run, on_event=take, starter=starter)
    others = Silences(settings.var_dir, beat_ticks.tick_seconds())
    url = settings.broker_url or broker.broker_url(settings.var_dir)
    canaries = Canaries(url=url, restart=supervisor.restart, say=program_log.say, others=others)
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


def free_port(
    port: int, program: str = "Flower", other: str = "--flower-port, or --no-flower"
) -> int:
    """Return ``port``, or any free one for 0. Raises UsageError where it is taken."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((programs.LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"port {port} is not free for {program} ({error.strerror}): "
                f"choose another with {other}"
            ) from None
        return int(trial.getsockname()[1])
