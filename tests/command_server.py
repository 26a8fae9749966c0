"""Commands of tests, forked from one process that has imported the product.

Most of what a short command costs is its imports, a second of a processor, and the tests run
hundreds of them. A forked one is a process of its own as well, with its own environment,
directory, output and exit code. What only a new interpreter does is for ``tests.running``, which
runs a command the ordinary way where its environment is an unusual one.

Each of the tests' processes has one server, which ends with it. It has one thread and imports
nothing that reads the settings when it is imported (``cprqueue.celery`` does).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGEST_ORDER_BYTES = 200_000
PRELOADED = ("domain", "store", "clients", "services")
FROM_OTHERS = ("alembic.command", "celery.app.control", "kombu.transport.redis", "rich.progress")
READS_SETTINGS = "cprqueue.celery"


class CommandServer:
    """Runs commands; any number at a time."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="cpr-commands-")
        self._address = str(Path(self._directory.name) / "socket")
        self._alive, alive = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as listening, alive:
            listening.bind(self._address)
            listening.listen(16)
            given = (listening.fileno(), alive.fileno())
            command = [sys.executable, "-m", "tests.command_server", *map(str, given)]
            self._process = subprocess.Popen(
                command, env=env, cwd=ROOT, pass_fds=given, stdin=subprocess.DEVNULL
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End the server."""
        self._alive.close()
        self._process.wait(20)
        self._directory.cleanup()

    def run(
        self, words: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; raises TimeoutExpired and kills it if that takes too long."""
        order = json.dumps({"words": words, "env": env, "cwd": str(cwd)}).encode()
        pipes = [os.pipe(), os.pipe()]
        with (
            socket.socket(socket.AF_UNIX) as conn,
            ThreadPoolExecutor(2) as reading,
        ):
            conn.settimeout(timeout_seconds)
            conn.connect(self._address)
            outputs = [reading.submit(_read, reader) for reader, _ in pipes]
            try:
                socket.send_fds(conn, [order], [writer for _, writer in pipes])
            finally:
                for _, writer in pipes:
                    os.close(writer)
            code = _outcome(conn, words)
            out, err = (output.result() for output in outputs)
        return subprocess.CompletedProcess(list(words), code, out, err)


def _outcome(conn: socket.socket, words: Sequence[str]) -> int:
    with conn.makefile("r") as told:
        pid = int(told.readline())
        try:
            return int(told.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), conn.gettimeout() or 0) from None


def _read(reader: int) -> str:
    with open(reader, encoding="utf-8") as pipe:
        return pipe.read()


@cache
def server(env: tuple[tuple[str, str], ...]) -> CommandServer:
    """Return this process's server, whose own environment is ``env``."""
    return CommandServer(dict(env))


def preload() -> None:
    """Import what commands need, but for what reads the settings."""
    for name in FROM_OTHERS:
        importlib.import_module(name)
    for part in PRELOADED:
        package = importlib.import_module(f"cprqueue.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("cprqueue.cli")
    assert READS_SETTINGS not in sys.modules
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def serve(listening: socket.socket, alive: socket.socket) -> None:
    """Fork for each order, until the tests are over; returns in a command alone, to be it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listening, alive], [], [])
        if alive in ready:
            os._exit(0)
        conn, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            alive.close()
            return _fork_command(conn)
        conn.close()


def _fork_command(conn: socket.socket) -> None:
    """Be the command, and in its parent: wait for its end and tell of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, outputs, _, _ = socket.recv_fds(conn, LARGEST_ORDER_BYTES, 2)
    pid = os.fork()
    if pid == 0:
        conn.close()
        return _become(json.loads(data), outputs)
    for descriptor in outputs:
        os.close(descriptor)
    conn.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    conn.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: Mapping[str, object], outputs: Sequence[int]) -> None:
    for target, source in enumerate(outputs, 1):
        os.dup2(source, target)
        os.close(source)
    os.chdir(str(order["cwd"]))
    env, words = order["env"], order["words"]
    assert isinstance(env, dict)
    assert isinstance(words, list)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["cprqueue", *words]
    sys.stdout = io.TextIOWrapper(_output(1), "utf-8")
    sys.stderr = io.TextIOWrapper(_output(2), "utf-8", "backslashreplace", line_buffering=True)


def _output(descriptor: int) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))


if __name__ == "__main__":
    preload()
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
    from cprqueue.__main__ import main

    main()
