"""All that the demo runs, from the sandbox to the board, in a temporary directory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from cprqueue import config
from cprqueue.cli.sandbox import dotenv, write_private
from cprqueue.cli.up import free_port
from cprqueue.errors import ServiceUnreachable
from cprqueue.runtime import programs
from cprqueue.runtime.supervisor import Event, Supervisor
from cprqueue.sandbox import credentials
from cprqueue.sandbox.server import Sandbox
from cprqueue.settings.reader import PREFIXES
from cprqueue.store import schema
from cprqueue.store.database import Database

READY_SECONDS = 90
STOP_SECONDS = 12
"""A worker that ends waits for its last question to the broker, which takes up to five seconds."""
OURS = (*PREFIXES, "CELERY_", "DATABASE_")


@dataclass(slots=True, kw_only=True)
class DemoSystem:
    """What runs. ``lines`` are the last ones that any program wrote."""

    directory: Path
    sandbox: Sandbox
    settings: config.Settings
    environ: dict[str, str]
    flower_url: str
    board_url: str
    db: Database
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    ready: threading.Event = field(default_factory=threading.Event)

    def wait_until_ready(self) -> None:
        """Return once every program is at work."""
        if not self.ready.wait(READY_SECONDS):
            raise ServiceUnreachable("\n".join(["the system does not come up:", *self.lines]))

    def sync(self) -> dict[str, float]:
        """Run ``cprqueue sync``, with its progress bar; return what it printed and ``seconds``.

        Raises ServiceUnreachable where it ends without a result.
        """
        started = time.monotonic()
        command = [sys.executable, "-m", "cprqueue", "sync", "--json"]
        with subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE) as process:
            try:
                printed, _ = process.communicate()
            except BaseException:
                process.terminate()
                raise
        if process.returncode not in (0, 1) or not printed.strip():
            raise ServiceUnreachable("\n".join(["the sync did not end well:", *self.lines]))
        found: dict[str, float] = json.loads(printed)
        return found | {"seconds": time.monotonic() - started}

    def take(self, event: Event) -> None:
        """Take an event of the supervisor."""
        if event.kind == "all_ready":
            self.ready.set()
        elif event.kind in ("output", "died"):
            self.lines.append(f"{event.program}: {event.detail}")


@contextmanager
def open_system(jobs: int) -> Iterator[DemoSystem]:
    """Start everything; at the end of the block, end everything and remove the directory.

    Ctrl-C and SIGTERM end the block with KeyboardInterrupt, once.
    """
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="cprqueue-demo-"))
        sandbox = stack.enter_context(Sandbox(jobs=jobs))
        system = _build(Path(place), sandbox)
        stack.callback(system.db.close)
        stack.enter_context(_running(system))
        stack.callback(_ignore_signals)
        yield system


def _build(directory: Path, sandbox: Sandbox) -> DemoSystem:
    ours = {**credentials.environment(sandbox.url), "CPR_VAR_DIR": str(directory / "var")}
    write_private(directory / ".env", dotenv(ours))
    environ = _without_settings(config.environment()) | ours
    settings = config.load(environ)
    db = Database(settings.database_url)
    schema.upgrade(db)
    return DemoSystem(
        directory=directory,
        sandbox=sandbox,
        settings=settings,
        environ=environ,
        flower_url=f"http://{programs.LOOPBACK}:{free_port(0)}/",
        board_url=f"http://{programs.LOOPBACK}:{free_port(0)}/",
        db=db,
    )


def _without_settings(environ: dict[str, str]) -> dict[str, str]:
    """Blank every setting: an empty one wins over a .env file, a missing one would not.

    A demo must never reach a real account, database or broker.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("FLOWER_")}
    return {name: "" if name.startswith(OURS) else value for name, value in kept.items()}


def _port(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


@contextmanager
def _running(system: DemoSystem) -> Iterator[None]:
    programs_to_run = programs.all_programs(
        system.settings,
        system.environ,
        flower_port=_port(system.flower_url),
        web=programs.Web(port=_port(system.board_url), is_open=True),
        stop_seconds=STOP_SECONDS,
    )
    supervisor = Supervisor(programs_to_run, on_event=system.take)
    thread = threading.Thread(target=supervisor.run, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join()


@contextmanager
def _interruptible() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        _ignore_signals()
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """From here on it is ended, and ended to the end: it takes some seconds."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
