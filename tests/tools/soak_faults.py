"""The faults of a soak: each has a beginning and an end, and a plan of them comes from a seed."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import DBAPIError

from cprqueue.sandbox.server import Sandbox
from tests.own_servers import close_connections
from tests.real_processes import marked
from tests.silent_proxy import Proxy
from tests.stepped_postgres import SteppedPostgres

HOUR, DAY = 3600, 86400
OFFSETS = (-HOUR, HOUR, DAY, 0, -DAY, -90, 90)
FILLER = "filler"
ANSWERS: tuple[dict[str, object], ...] = (
    {"kind": "status", "service": "qbt", "status": 503, "share": 0.5},
    {"kind": "lost", "service": "qbt", "share": 0.5},
    {"kind": "act_then_status", "service": "qbt", "status": 500, "share": 0.5},
    {"kind": "rate_limited", "service": "qbt", "times": 1},
    {"kind": "cut", "service": "qbt", "share": 0.4},
    {"kind": "slow", "service": "qbt", "seconds": 3, "share": 0.5},
    {"kind": "items", "item_share": 0.2},
    {"kind": "drop", "share": 0.4},
    {"kind": "status", "service": "rm", "status": 502, "html": True},
    {"kind": "cut", "service": "rm"},
)


class Server(Protocol):
    """What is killed and started again."""

    def start(self) -> None: ...

    def end(self, number: signal.Signals = signal.SIGTERM) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: begins ``at`` so many seconds, ``lasts`` so long; ``number`` chooses details."""

    at: float
    kind: str
    lasts: float
    number: int

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind}  for {self.lasts:.1f} s  ({self.number})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a fault can strike; ``disks`` are file systems of their own that may be filled."""

    directory: Path
    sandbox: Sandbox
    postgres: SteppedPostgres
    broker: Server
    to_postgres: Proxy
    to_broker: Proxy
    log_disk: Path
    var_disk: Path


def _connections_closed(scene: Scene, _number: int) -> Iterator[None]:
    with suppress(DBAPIError):  # it is down just now
        close_connections(scene.postgres.url)
    yield


def _database_killed(scene: Scene, _number: int) -> Iterator[None]:
    yield from _down(scene.postgres)


def _broker_killed(scene: Scene, _number: int) -> Iterator[None]:
    yield from _down(scene.broker)


def _down(server: Server) -> Iterator[None]:
    server.end(signal.SIGKILL)
    yield
    server.end(signal.SIGKILL)  # another fault that began meanwhile has started it
    server.start()


def _clock_stepped(scene: Scene, number: int) -> Iterator[None]:
    scene.postgres.step(OFFSETS[number % len(OFFSETS)])
    yield


def _log_disk_full(scene: Scene, _number: int) -> Iterator[None]:
    yield from _filled(scene.log_disk)


def _var_disk_full(scene: Scene, _number: int) -> Iterator[None]:
    yield from _filled(scene.var_disk)


def _filled(disk: Path) -> Iterator[None]:
    filler = disk / FILLER
    try:
        with filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    yield
    filler.unlink(missing_ok=True)


def _program_killed(scene: Scene, number: int) -> Iterator[None]:
    _send(_chosen(scene, number), signal.SIGKILL)
    yield


def _program_stopped(scene: Scene, number: int) -> Iterator[None]:
    pid = _chosen(scene, number)
    _send(pid, signal.SIGSTOP)
    yield
    _send(pid, signal.SIGCONT)


def _all_stopped(scene: Scene, _number: int) -> Iterator[None]:
    pids = programs(scene.directory)
    for pid in pids:
        _send(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        _send(pid, signal.SIGCONT)


def _database_silent(scene: Scene, _number: int) -> Iterator[None]:
    yield from _silent(scene.to_postgres)


def _broker_silent(scene: Scene, _number: int) -> Iterator[None]:
    yield from _silent(scene.to_broker)


def _silent(way: Proxy) -> Iterator[None]:
    way.fall_silent()
    yield
    way.recover()


def _wrong_answers(scene: Scene, number: int) -> Iterator[None]:
    scene.sandbox.faults.set([ANSWERS[number % len(ANSWERS)]])
    yield
    scene.sandbox.faults.clear()


def programs(directory: Path) -> list[int]:
    """Return the process ids of the workers, their pools and beat, in order."""
    return sorted(pid for pid in marked(directory) if _is_ours(pid))


def _is_ours(pid: int) -> bool:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return bool({b"worker", b"beat", b"flower"} & set(words))
    return False


def _chosen(scene: Scene, number: int) -> int:
    pids = programs(scene.directory)
    return pids[number % len(pids)] if pids else 0


def _send(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, number)


Fault = Callable[[Scene, int], Iterator[None]]
KINDS: dict[str, tuple[Fault, float, float]] = {
    "connections closed": (_connections_closed, 0, 0),
    "database killed": (_database_killed, 0.5, 8),
    "broker killed": (_broker_killed, 0.5, 8),
    "database's clock stepped": (_clock_stepped, 0, 0),
    "log's disk full": (_log_disk_full, 2, 10),
    "var disk full": (_var_disk_full, 2, 8),
    "program killed": (_program_killed, 0, 0),
    "program stopped": (_program_stopped, 3, 10),
    "all programs stopped": (_all_stopped, 3, 10),
    "database silent": (_database_silent, 3, 12),
    "broker silent": (_broker_silent, 3, 12),
    "wrong answers": (_wrong_answers, 3, 9),
}
"""Each kind of fault, and how long it lasts, at least and at most, in seconds."""


def plan(seed: int, seconds: float, *, can_fill: bool) -> list[Step]:
    """Return the faults of a soak in their order, always the same for a seed.

    Each kind comes as often as any other, and the order is random; some overlap.
    """
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS if can_fill or "disk" not in kind]
    steps: list[Step] = []
    left: list[str] = []
    at = 1.0
    while at < seconds:
        left = left or rng.sample(kinds, len(kinds))
        kind = left.pop()
        _, least, most = KINDS[kind]
        steps.append(Step(at, kind, rng.uniform(least, most), rng.randrange(10_000)))
        at += rng.uniform(1, 10)
    return steps


@contextmanager
def fault(scene: Scene, step: Step) -> Iterator[None]:
    """Have the fault for the block."""
    begin, _, _ = KINDS[step.kind]
    yield from begin(scene, step.number)
