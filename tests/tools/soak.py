"""All faults at once, for as long as one likes, then: is every job right?

    python -m tests.tools.soak --seconds 600 --seed 7

A real ``cprqueue up`` on a PostgreSQL and a broker of its own. For that time connections are
closed, servers and workers killed and stopped, connections fall silent, the database's clock is
stepped, disks fill up and the services answer wrongly, while jobs change and orders are given.
Then all faults end, and within three minutes everything has to be in step. The seed, printed
first, gives the same order of faults and changes again.
"""

from __future__ import annotations

import argparse
import collections
import heapq
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select

from cprqueue.domain.states import LinkState
from cprqueue.sandbox.server import Sandbox
from cprqueue.store.runs import ENDED
from cprqueue.store.tables import links, runs
from tests import log_scan
from tests.office import broken
from tests.own_brokers import own_broker
from tests.real_processes import no_process_left_behind, wait_until
from tests.running import System
from tests.silent_proxy import proxy_to
from tests.stepped_postgres import stepped_postgres
from tests.tools import soak_faults
from tests.tools.soak_faults import Scene, Step
from tests.tools.soak_office import Changes, Orders, up_with_log

LIMIT, WINDOW_SECONDS = 60, 20.0
FIRST_JOBS = 120
PATIENCE_SECONDS = 180
CHANGE_SECONDS, ORDER_SECONDS = (0.1, 1.2), (4, 12)
DISK = "size=96m,mode=700"
SETTINGS = {
    "QBT_RATE_LIMIT": str(LIMIT),
    "QBT_RATE_WINDOW": str(WINDOW_SECONDS),
    "QBT_RETRY_BASE_SECONDS": "0.2",
    "QBT_MAX_ATTEMPTS": "1000",
    "CPR_LEASE_SECONDS": "4",
    "CPR_TEST_CANARY_SECONDS": "2",
    "PUSH_MIN_LIMIT": "100000",
    "PRUNE_MAX_FRACTION": "1",
    "PRUNE_MIN_LIMIT": "100000",
    "PRUNE_MAX_LIMIT": "100000",
}


class Soak:
    """One soak; ``run`` returns what is wrong at its end, a line each."""

    def __init__(self, seed: int, seconds: float, *, say: Callable[[str], None]) -> None:
        self.seed, self.seconds, self.say = seed, seconds, say
        self.done: list[Step] = []

    def run(self) -> list[str]:
        """Set all up, have the faults, wait until they are over, judge."""
        with ExitStack() as stack:
            base = Path(tempfile.mkdtemp(prefix="cpr-soak-"))
            stack.callback(shutil.rmtree, base)
            stack.enter_context(no_process_left_behind(base / "office"))
            disks = [stack.enter_context(_disk(base / "office" / name)) for name in ("log", "var")]
            sandbox = stack.enter_context(
                Sandbox(qbt_switches={"rate_limit": 100_000, "rate_window_seconds": 1.0})
            )
            postgres = stack.enter_context(stepped_postgres())
            broker = stack.enter_context(own_broker(base, random.Random(self.seed)))
            to_postgres = stack.enter_context(proxy_to(postgres.port))
            to_broker = stack.enter_context(proxy_to(broker.port))
            self.log = base / "office" / "log" / "up.log"
            self.scene = Scene(
                directory=base / "office",
                sandbox=sandbox,
                postgres=postgres,
                broker=broker,
                to_postgres=to_postgres,
                to_broker=to_broker,
                log_disk=base / "office" / "log",
                var_disk=base / "office" / "var",
            )
            self.say(f"seed {self.seed}: {self.seconds:g} s, broker {broker.name}")
            url = postgres.url.replace(str(postgres.port), str(to_postgres.port))
            address = broker.url(to_broker.port)
            place = {"DATABASE_URL": url, "CELERY_BROKER_URL": address, **SETTINGS}
            self.system = System(base / "office", sandbox, **place)
            self.changes = Changes(sandbox, self.seed, FIRST_JOBS)
            self.orders = Orders(self.system, self.changes, self.seed, postgres.url)
            with up_with_log(self.system, self.log) as self.up:
                self._suffer(can_fill=all(disks))
                wrong = [] if self._in_step() else ["it is not in step"]
                wrong += list(self._wrong())
            log_scan.collect(self.log.read_text(errors="replace").splitlines())
            if wrong:
                self._keep()
            return wrong

    def _suffer(self, *, can_fill: bool) -> None:
        """Have all faults, changes and orders, each at its time; at the end all faults are over."""
        if not can_fill:
            self.say("no disk is filled: this user may not mount a file system")
        rng = random.Random(self.seed + 2)
        begun = time.monotonic()
        steps = soak_faults.plan(self.seed, self.seconds, can_fill=can_fill)
        queue: list[tuple[float, int, Callable[[], None]]] = []
        at = 0.0
        while (at := at + rng.uniform(*CHANGE_SECONDS)) < self.seconds:
            queue.append((at, len(queue), self.changes.make_one))
        at = 0.0
        while (at := at + rng.uniform(*ORDER_SECONDS)) < self.seconds:
            queue.append((at, len(queue), self.orders.give_one))
        for step in steps:
            fault = soak_faults.fault(self.scene, step)
            queue.append((step.at, len(queue), partial(self._begin, step, fault)))
            queue.append((step.at + step.lasts, len(queue), partial(_end, fault)))
        heapq.heapify(queue)
        while queue:
            at, _, act = heapq.heappop(queue)
            time.sleep(max(0.0, begun + at - time.monotonic()))
            act()

    def _begin(self, step: Step, fault: AbstractContextManager[None]) -> None:
        self.done.append(step)
        fault.__enter__()

    def _in_step(self) -> bool:
        """Wait until all is right, as somebody would who asks for a sync now and then."""
        wait_until(self.scene.postgres.answers, timeout_seconds=30)
        self.ended = time.monotonic()
        sync = None
        while time.monotonic() < self.ended + PATIENCE_SECONDS:
            if sync is None or sync.poll() not in (None, 0):
                sync = self.orders.give("sync", "--full", "--timeout", "120")
            time.sleep(1)
            if sync.poll() == 0 and not list(self._unfinished()):
                self.say(f"in step after {time.monotonic() - self.ended:.0f} s")
                return True
        return False

    def _unfinished(self) -> Iterator[str]:
        yield from broken(self.scene.sandbox)
        engine = create_engine(self.scene.postgres.url)
        with engine.connect() as conn:
            due = select(func.count()).where(links.c.state == LinkState.DUE)
            if count := conn.execute(due).scalar_one():
                yield f"{count} jobs are due"
            for run in conn.execute(select(runs).where(runs.c.state.not_in(ENDED))):
                yield f"run {run.run_id} ({run.kind}) is {run.state}"
        engine.dispose()

    def _wrong(self) -> Iterator[str]:
        yield from self._unfinished()
        yield from self.orders.wrong(seconds=60)
        if self.up.poll() is not None:
            yield f"up ended with {self.up.returncode}"
        state, jobs = self.scene.sandbox.qbt.state(), self.scene.sandbox.rm.jobs()
        for kind in ("jobcodes", "locations"):
            if len(state[kind]) > len(jobs):
                yield f"{len(state[kind])} {kind} for {len(jobs)} jobs: some are doubled"
        yield from (f"saved: {path.name}" for path in self.scene.var_disk.glob("crash-*"))
        said = self.log.read_text(errors="replace").splitlines()
        for words in ("Traceback (most", "the whole error is in", "Street"):
            yield from (line for line in said if words in line)
        moments = sorted(call.at for call in self.scene.sandbox.call_log.select("qbt"))
        for first, last in zip(moments, moments[LIMIT:], strict=False):
            if last - first < WINDOW_SECONDS:
                yield f"{LIMIT + 1} calls within {last - first:.2f} s"
        self.say(f"{len(jobs)} jobs, {self.changes.done} changes, {len(moments)} calls")
        orders = collections.Counter(words[0] for words, _, _ in self.orders.given)
        self.say(f"orders: {dict(orders)}")
        self.say(f"faults: {dict(collections.Counter(step.kind for step in self.done))}")

    def _keep(self) -> None:
        """Keep the log and what was saved, and tell the timeline."""
        kept = Path(tempfile.mkdtemp(prefix=f"cpr-soak-{self.seed}-"))
        found = (*self.scene.var_disk.glob("crash-*"), *self.scene.directory.glob("order-*"))
        for path in (self.log, *found):
            shutil.copy(path, kept)
        for step in self.done:
            self.say(str(step))
        self.say(f"the log is kept in {kept}")


def _end(fault: AbstractContextManager[None]) -> None:
    fault.__exit__(None, None, None)


@contextmanager
def _disk(place: Path) -> Iterator[bool]:
    """Make the directory a small file system of its own; False: that is not allowed."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", DISK, "none", str(place)]
    done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def main() -> int:
    """Run one soak; 1: something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    words = parser.parse_args()
    log_scan.begin()
    say = partial(print, flush=True)
    try:
        wrong = Soak(words.seed, words.seconds, say=say).run()
    except pytest.skip.Exception as reason:
        say(f"skipped: {reason}")
        return 0
    say(*(wrong or ["every job is right"]), sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
