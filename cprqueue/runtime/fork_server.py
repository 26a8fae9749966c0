"""A process that has imported the product once, and starts programs by forking itself.

    python -m cprqueue.runtime.fork_server DESCRIPTOR SUPERVISOR_PID MODULE PADDING

What it has imported lies in memory once for all of them, and none spends the time to import it
again. It has no threads, opens no connection, and never runs a program itself: it forks twice, so
that the program's parent is gone at once and the kernel gives it to the supervisor, which is
named as the one that takes orphans (``become_parent_of_orphans``). So the supervisor waits for it
as for any child, the program dies with the supervisor, and the death of this process harms none.

An order comes over the socket: one JSON object with ``argv`` (``python -m MODULE WORD...``; the
module's ``main`` gets the words), ``env``, ``lock``, and with it two descriptors: the one to write
to, and one to read from. The answer is the process id. The program begins once the supervisor,
which knows it then, has written a byte: wherever this process dies, no program runs of which the
supervisor knows nothing. Linux only; elsewhere every program is started by exec.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cprqueue.runtime import supervised

LARGEST_ORDER_BYTES = 200_000  # a message of a socket of this kind; the kernel's own limit is above

_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A program to start."""

    argv: Sequence[str]
    env: dict[str, str]
    lock: str
    output: int
    go: int


def become_parent_of_orphans() -> bool:
    """Have the kernel give this process the orphans among its descendants; tell if it does."""
    if sys.platform != "linux":
        return False
    done: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return done == 0


def main(words: Sequence[str]) -> int:
    """Serve orders until the socket's other end is closed; in a program, return its exit code."""
    orders, supervisor = socket.socket(fileno=int(words[0])), int(words[1])
    rename(("cprqueue", "fork-server"))
    _preload(words[2])
    while True:
        order = _next(orders)
        if order is None:
            return 0
        started = _fork_twice(orders)
        if started is None:
            orders.close()
            return _become(order, supervisor)
        os.close(order.output)
        os.close(order.go)
        orders.send(str(started).encode())


def _preload(module: str) -> None:
    """Import what the programs need. What fails here fails in each of them, which then says so."""
    gc.disable()  # or each of its runs would leave holes in what is to be shared
    with suppress(Exception, SystemExit):
        importlib.import_module(module).preload()
    gc.enable()
    gc.collect()
    gc.freeze()  # the collector writes to what it looks at, and what is written to is not shared


def _next(orders: socket.socket) -> Order | None:
    data, descriptors, _flags, _address = socket.recv_fds(orders, LARGEST_ORDER_BYTES, 2)
    if not data:
        return None
    output, go = descriptors
    return Order(**json.loads(data), output=output, go=go)


def _fork_twice(orders: socket.socket) -> int | None:
    """Return the new process's id once its parent is gone; in the new process None.

    It leads a group by then, so whoever knows the id can kill it at once. 0: the system has no
    room for one process more.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _leave_to_a_child()
        os.setsid()
        os.write(writing, str(os.getpid()).encode())
        os.close(writing)
        return None
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return int(pipe.read() or 0)


def _leave_to_a_child() -> None:
    """Fork and end; return in the child, once it is an orphan."""
    own = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    while os.getppid() == own:
        time.sleep(0.001)


def _become(order: Order, supervisor: int) -> int:
    """Be the program: its output, its environment, its name."""
    if not os.read(order.go, 1):
        return supervised.EXIT_NOT_STARTED
    os.close(order.go)
    _take_output(order.output)
    if complaint := supervised.promise(supervisor, order.lock):
        sys.stderr.write(complaint + "\n")
        return supervised.EXIT_LOCKED
    os.environ.clear()
    os.environ.update(order.env)
    rename(order.argv)
    module, sys.argv = order.argv[2], [order.argv[2], *order.argv[3:]]
    code: int = importlib.import_module(module).main(order.argv[3:])
    return code


def _take_output(output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)


def rename(argv: Sequence[str]) -> None:
    """Show these words as this process's command line; they are cut to the room that there is.

    The kernel shows the memory in which the process got its own; it is written over.
    """
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    if not begin < end - 1:  # hidden from us
        return
    shown = b"\0".join(word.encode(errors="surrogateescape") for word in argv)[: end - begin - 1]
    ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
