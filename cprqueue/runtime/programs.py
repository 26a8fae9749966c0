"""What a running system consists of: broker, workers, beat, Flower, board, as Program values."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cprqueue
from cprqueue import config
from cprqueue.errors import AlreadyRunning
from cprqueue.runtime import broker, supervised
from cprqueue.runtime.supervisor import Program

QUEUES = ("fetch", "insert", "upsert", "urgent", "maintenance")
PROCESSES = {"insert": 2, "upsert": 2, "maintenance": 2}
"""How many processes work on a queue; on the others it is one.

A snapshot of a large account waits for calls: the sweep must not wait behind it.
"""

LOOPBACK = "127.0.0.1"
FLOWER_TASKS = 20_000  # Flower's own default, 100,000, takes about 400 MB
SAVE_FLOWER_MS = 60_000
FORGET_WORKERS_SECONDS = 3600

ENOUGH_FILES, MANY_FILES = 128, 4096  # the broker alone has a connection or two to each process
UP_PATIENCE_SECONDS = 1.0  # one that was just killed needs a moment to be gone

READY_LINE = "cprqueue.ready"  # what cprqueue.celery logs once a worker or beat is at work
WEB_LINE = "the board answers"  # what cprqueue.web.server logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The board: its port on loopback; ``is_open``: the demo's, which asks for no log-in."""

    port: int
    is_open: bool = False


def all_programs(
    settings: config.Settings,
    environ: Mapping[str, str],
    *,
    beat: bool = True,
    flower_port: int | None = None,
    web: Web | None = None,
    stop_seconds: float = 20,
) -> list[Program]:
    """Describe everything that has to run; makes the directories that it needs.

    ``environ`` is what the programs get as their environment; it must agree with ``settings``.
    Without a ``flower_port`` there is no Flower, without ``web`` no board. Raises AlreadyRunning
    if another system uses the same directory, SettingsError if the directory cannot be used.
    """
    settings.make_var_dir()
    env = _environment(environ)
    programs = [_worker(queue, settings, env, stop_seconds) for queue in QUEUES]
    if beat:
        programs.append(_beat(settings, env, stop_seconds))
    if flower_port is not None:
        programs.append(_flower(settings, env, flower_port, stop_seconds))
    if web is not None:
        programs.append(_web(web, env, stop_seconds))
    if settings.broker_is_embedded:
        programs.insert(0, broker.broker_program(settings.var_dir))
    return programs


def preparation(environ: Mapping[str, str], *, beat: bool, stop_seconds: float = 20) -> Program:
    """Describe what has to run once, to its end, before ``all_programs``."""
    options = ("--with-timetable",) if beat else ()
    return Program(
        name="prepare",
        argv=_serve("prepare", *options),
        env=_environment(environ),
        stop_seconds=stop_seconds,
        forked=True,
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the programs find ``workers`` and ``celerybeat-schedule`` from any directory."""
    root = str(Path(cprqueue.__file__).parent.parent)
    paths = [root, *environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = config.for_programs(environ) | config.NOTHING_BY_ITSELF
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _serve(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cprqueue.serve", *arguments)


def _worker(
    queue: str, settings: config.Settings, env: Mapping[str, str], stop_seconds: float
) -> Program:
    processes = PROCESSES.get(queue, 1)
    if queue in ("insert", "upsert") and settings.database_url.startswith("sqlite"):
        processes = 1  # SQLite has one writer, and these write fifty jobs at a time
    options = ("-Q", queue, "-n", node(queue), "-c", str(processes))
    return Program(
        name=queue,
        argv=_serve("worker", *options),
        env=env,
        ready_line=READY_LINE,
        stop_seconds=stop_seconds,
        forked=True,
        # A download may take long. SIGQUIT cuts it off and puts its message back at once.
        stop_signal=signal.SIGQUIT if queue == "fetch" else signal.SIGTERM,
    )


def node(queue: str) -> str:
    """Return what a worker of this process's ``up`` is called.

    Several systems may share a broker: the process id makes the names unique on one host.
    """
    return f"{queue}-{os.getpid()}@{socket.gethostname()}"


def _beat(settings: config.Settings, env: Mapping[str, str], stop_seconds: float) -> Program:
    directory = settings.var_dir / "beat"
    raise_if_locked(directory / "lock")
    options = ("--schedule", str(directory / "schedule"))
    return Program(
        name="beat",
        argv=_serve("beat", *options),
        env=env,
        ready_line=READY_LINE,
        stop_seconds=stop_seconds,
        lock_path=directory / "lock",
        forked=True,
    )


def _flower(
    settings: config.Settings, env: Mapping[str, str], port: int, stop_seconds: float
) -> Program:
    """Describe Flower: reachable on this machine only, and read-only."""
    options = {
        "address": LOOPBACK,
        "port": port,
        "read-only": True,
        "persistent": True,
        "db": settings.var_dir / "flower" / "flower",
        "state-save-interval": SAVE_FLOWER_MS,
        "max-tasks": FLOWER_TASKS,
        "natural-time": True,
        "purge-offline-workers": FORGET_WORKERS_SECONDS,
        "tasks-columns": "name,args,state,received,started,runtime,worker,retries",
    }
    words = (f"--{name}={value}" for name, value in options.items())
    return Program(
        name="flower",
        argv=_serve("flower", *words),
        # Its API asks for a password or for this: loopback and read-only are the guard here.
        env={"FLOWER_UNAUTHENTICATED_API": "true", **env},
        ready_line="Visit me at",
        stop_seconds=stop_seconds,
        forked=True,
    )


def _web(web: Web, env: Mapping[str, str], stop_seconds: float) -> Program:
    words = ("web", "--port", str(web.port), *(["--open"] if web.is_open else []))
    return Program(
        name="web",
        argv=_serve(*words),
        env=env,
        ready_line=WEB_LINE,
        stop_seconds=stop_seconds,
        forked=True,
    )


@contextmanager
def only_one(var_dir: Path) -> Iterator[None]:
    """Hold the lock of ``up`` on this directory for the block; no program inherits it.

    Raises AlreadyRunning, naming the process that holds it. It ends with this process, however
    that ends.
    """
    path = var_dir / "lock"
    descriptor = supervised.take_lock(path, patience_seconds=UP_PATIENCE_SECONDS)
    if descriptor is None:
        raise AlreadyRunning(
            f"another `cprqueue up` (pid {supervised.holder(path)}) is using {var_dir} for its "
            "broker or beat: end that one first"
        )
    supervised.sign(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def open_files_limit() -> int:
    """Let this process, and what it starts, open as many files as they may; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MANY_FILES if soft == resource.RLIM_INFINITY else soft


def raise_if_locked(path: Path) -> None:
    """Raise AlreadyRunning if a process holds the lock, and keeps it for some seconds."""
    descriptor = supervised.take_lock(path)
    if descriptor is None:
        raise AlreadyRunning(supervised.locked_by(path))
    os.close(descriptor)
