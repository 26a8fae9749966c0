"""How programs start: by exec, or by a fork server; the supervisor's end of its socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from io import BufferedReader

from cprqueue.runtime import fork_server, supervised
from cprqueue.runtime.supervisor import process
from cprqueue.runtime.supervisor.values import Program

TRIES = 2
PATIENCE_SECONDS = 60  # it answers the first order once it has imported everything
USELESS = TimeoutError, ChildProcessError
"""A server that hangs would be waited for at each start; or its programs do not become ours."""

PADDING = "." * 2_000  # room for the command lines of the programs


@dataclass(slots=True, eq=False)
class Forked:
    """A process that is our child though we did not fork it; used as a ``Popen`` is."""

    pid: int
    stdout: BufferedReader
    returncode: int | None = None
    _waiting: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> int:
        """Return its exit code once it has ended, or the signal that ended it, below zero."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # it keeps its id for now
        with self._waiting:
            if self.returncode is None:
                self.returncode = _reap(self.pid)
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with self._waiting:
            if self.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)


class Starter:
    """Starts programs: those that are to be forked by a fork server, the others by exec.

    The server is started with the first order, and again where it is gone: it is ``close``d while
    nothing has to be started. Where there can be none, or it fails, a program is started by exec:
    it only takes more memory and time. One that is USELESS once is not started again.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._can_fork: bool | None = None

    def prepare(self, program: Program) -> None:
        """Start the server for ``program``: it imports while other programs start."""
        if program.forked and self._may_fork() and not self._is_alive():
            self.close()
            self._server, self._orders = _start_server(program)

    def start(self, program: Program) -> process.Process:
        """Start ``program`` in a session of its own. Raises OSError where that is not possible."""
        for _ in range(TRIES):
            if not (program.forked and self._may_fork()):
                break
            try:
                self.prepare(program)
                return self._fork(program)
            except OSError as error:
                self._can_fork = not isinstance(error, USELESS)
                self.close()
        return process.spawn(program)

    def close(self) -> None:
        """End the server; the programs that it started go on."""
        if self._orders:
            self._orders.close()
        if self._server:
            self._server.kill()
            self._server.wait()
        self._server = self._orders = None

    def _is_alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def _may_fork(self) -> bool:
        if self._can_fork is None:
            self._can_fork = fork_server.become_parent_of_orphans()
        return self._can_fork

    def _fork(self, program: Program) -> Forked:
        reading, output = os.pipe()
        waits, go = os.pipe()
        stdout = os.fdopen(reading, "rb")  # its reader closes it
        try:
            forked = Forked(self._order(program, output, waits), stdout)
            os.waitid(os.P_PID, forked.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # is it ours?
            os.write(go, b"!")
        except BaseException:
            stdout.close()
            raise
        finally:
            for descriptor in (output, waits, go):
                os.close(descriptor)
        return forked

    def _order(self, program: Program, *descriptors: int) -> int:
        order = {
            "argv": program.argv,
            "env": program.whole_env,
            "lock": str(program.lock_path or ""),
        }
        if not self._orders:
            raise ConnectionError
        socket.send_fds(self._orders, [json.dumps(order).encode()], descriptors)
        answer = self._orders.recv(64)
        pid = int(answer or 0)
        if pid <= 0:  # it is gone, or there is no room for one process more
            raise ConnectionError
        return pid


def _start_server(program: Program) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE_SECONDS)
    supervisor = str(os.getpid())
    options = (str(its.fileno()), supervisor, program.argv[2], PADDING)
    words = (sys.executable, "-m", fork_server.__name__, *options)
    wrapper = (sys.executable, "-I", "-S", supervised.__file__, supervisor, "")
    with its:
        server = subprocess.Popen(
            (*wrapper, *words),
            env=program.whole_env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(its.fileno(),),
        )
    return server, ours


def _reap(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # it never became our child: the kernel ended it
        return -signal.SIGKILL
