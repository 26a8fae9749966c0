"""A whole system for tests: ``cprqueue up`` in a process of its own, against a sandbox here."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox
from tests import command_server, log_scan
from tests.real_processes import no_process_left_behind, wait_until

ROOT = Path(__file__).parent.parent
NOT_OURS = (
    "RM_",
    "QBT_",
    "CPR_",
    "PRUNE_",
    "PUSH_",
    "ALERT_",
    "CELERY_",
    "FLOWER_",
    "DATABASE_URL",
)


def clean_environment(**values: str) -> dict[str, str]:
    """Return this process's environment without anybody's settings, plus ``values``."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(NOT_OURS)}
    return {**kept, "COLUMNS": "200", "CPR_TESTING": "1", **values}


PATIENT = {"timeout_seconds": 90.0}
COMMAND_SECONDS = 200


def command(
    words: Sequence[str], env: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; forked, unless its environment has more than settings of ours."""
    usual = clean_environment()
    if {name: text for name, text in env.items() if not name.startswith(NOT_OURS)} == {
        name: text for name, text in usual.items() if not name.startswith(NOT_OURS)
    }:
        server = command_server.server(tuple(sorted(usual.items())))
        return server.run(words, env, directory, COMMAND_SECONDS)
    return subprocess.run(
        [sys.executable, "-m", "cprqueue", *words],
        env=env,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def _read(stream: IO[str], lines: list[str]) -> None:
    with stream:
        for line in stream:
            lines.append(line)
            log_scan.collect([line])


class Up:
    """A running ``cprqueue up``; what it says is in ``out`` and ``err``, line by line."""

    def __init__(self, env: dict[str, str], directory: Path, *options: str) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cprqueue", "up", *options],
            env=env,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            assert stream is not None
            threading.Thread(target=_read, args=(stream, lines), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Return once it has said ``ready``; fail at once if it ended instead."""
        wait_until(lambda: "ready\n" in self.out or self.process.poll() is not None, **PATIENT)
        assert self.out == ["ready\n"], "".join(self.err)

    def heard(self, words: str) -> int:
        """Count the lines on standard error that hold ``words``."""
        return sum(words in line for line in list(self.err))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


class System:
    """One installation: a directory, its settings, a sandbox, commands to run on it."""

    def __init__(self, directory: Path, sandbox: Sandbox, **env: str) -> None:
        self.directory, self.sandbox = directory, sandbox
        self.var = directory / "var"
        ours = {**environment(sandbox.url), "CPR_VAR_DIR": str(self.var)}
        self.env = clean_environment(**ours, **env)
        log_scan.watch(sandbox)

    @contextmanager
    def up(self, *options: str) -> Iterator[Up]:
        """Run ``up`` for the block."""
        with no_process_left_behind(self.directory):
            up = Up(self.env, self.directory, *options)
            try:
                up.wait_until_ready()
                yield up
            finally:
                if up.process.poll() is None:
                    up.stop()

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = command(words, {**self.env, **env}, self.directory)
        log_scan.collect(done.stderr.splitlines())
        return done

    def sync(self, *options: str) -> dict[str, Any]:
        """Sync to the end; return what it printed, with ``code`` and ``error`` lines."""
        done = self.run("sync", "--json", *options)
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return found | {"code": done.returncode, "error": errors(done.stderr)}

    def writes(self) -> int:
        """Count the calls so far that could change something in QuickBooks Time."""
        return sum(call.method != "GET" for call in self.sandbox.call_log.select("qbt"))


def on_terminal(system: System, *words: str, answer: str = "") -> tuple[int, str]:
    """Run a command on a terminal of 80 columns; return its exit code and all that it shows.

    ``answer``: a line that is typed, and waits until the command reads it.
    """
    parent, child = pty.openpty()
    if answer:
        os.write(parent, f"{answer}\n".encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "cprqueue", *words],
        env={**system.env, "COLUMNS": "80", "TERM": "xterm"},
        cwd=system.directory,
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 65536)
        except OSError:  # nobody has the other end any more
            break
    os.close(parent)
    return process.wait(60), shown.decode()


def celery(system: System, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start a Celery command in the repository root, its output in one pipe."""
    return log_scan.Watched(
        [sys.executable, "-m", "celery", "-A", "cprqueue", *words],
        env={**system.env, **env},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def errors(text: str) -> list[str]:
    """Return the error lines of a command's standard error."""
    return [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error")]
