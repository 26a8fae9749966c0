"""``up`` asks each of its workers again and again to answer, and restarts one that hangs.

The question is a message: a worker's main process takes it from the broker and answers through
the broker, also while its pool is busy with long work. A worker hangs that leaves several of
them in a row unanswered (it is stopped, or waits for a socket that stays silent), or that
answers, has nothing to do, and leaves what waits in its queue. Where the broker itself delivers
nothing, no worker is restarted: that, and its end, is a line. A restart costs nothing: leases
expire, messages come again; the patience doubles with each restart that did not help.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cprqueue.cli.silences import Silences
from cprqueue.errors import ServiceUnreachable
from cprqueue.runtime import beat_ticks, broker_link, programs
from cprqueue.runtime.supervisor import Event

ANSWER_SECONDS = 5.0
MISSES = 3
STARTING = 4  # times as many for a worker that is not ready yet
MOST_DOUBLINGS = 5
LONGEST_ROUND = 6  # times the patience for an answer
AWAY_ROUNDS = 2  # so many in a row are no broker that is just started anew
QUEUES = frozenset(programs.QUEUES)

Restart = Callable[[str, int, str], None]
"""Restarts a program by its name and process id, for a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker said: whether it carries something out, and how many tasks it took so far.

    ``waiting``: how many messages are in its queue.
    """

    busy: bool
    taken: int
    waiting: int


@dataclass(slots=True)
class Worker:
    """What is known of one worker's process."""

    pid: int
    restarts: int = 0
    ready: bool = False
    missed: int = 0
    idle: int = 0
    taken: int | None = None

    def judge(self, answer: Answer | None) -> str:
        """Take the outcome of one round; return why the worker hangs, or ""."""
        patience = MISSES * 2 ** min(self.restarts, MOST_DOUBLINGS)
        if answer is None:
            self.missed += 1
            limit = patience if self.ready else patience * STARTING
            return f"no answer to {self.missed} canary messages" if self.missed >= limit else ""
        idle = bool(answer.waiting) and not answer.busy and answer.taken == self.taken
        self.idle = self.idle + 1 if idle else 0
        self.missed, self.taken = 0, answer.taken
        if not idle:
            self.restarts = 0
        return "it takes none of the messages in its queue" if self.idle >= patience else ""


@dataclass(slots=True)
class BrokerNews:
    """Says once that the broker does nothing, and once that it is back."""

    say: Callable[[str], None]
    _rounds: int = 0

    def take(self, problem: str) -> None:
        """Take the outcome of one round: why nothing came through the broker, or ""."""
        if problem:
            self._rounds += 1
            if self._rounds == AWAY_ROUNDS:
                self.say(f"{problem}; what is owed is done when it is back")
        elif self._rounds >= AWAY_ROUNDS:
            self.say("the broker is back")
        self._rounds = self._rounds if problem else 0


@dataclass(slots=True)
class Canaries:
    """Watches the workers from a thread of its own; ``take`` gets the supervisor's events."""

    url: str
    restart: Restart
    say: Callable[[str], None]
    others: Silences
    news: BrokerNews = field(init=False)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _restarts: dict[str, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.news = BrokerNews(self.say)

    def take(self, event: Event) -> None:
        """Learn which processes there are."""
        self.others.take(event)
        if event.kind == "started" and event.program in QUEUES and event.pid:
            again = self._restarts.get(event.program, 0)
            self._workers[event.program] = Worker(event.pid, restarts=again)
        elif event.kind == "ready" and event.program in self._workers:
            self._workers[event.program].ready = True
        elif event.kind in ("died", "stopped"):
            self._workers.pop(event.program, None)

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="canaries", daemon=True).start()

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _run(self) -> None:
        every = beat_ticks.round_seconds()
        while not self._ended.wait(every):
            try:
                self._judge(dict(self._workers), min(every, ANSWER_SECONDS))
            except Exception as error:  # noqa: BLE001  (said; the next round may go well)
                self.say(f"the workers cannot be asked: {type(error).__name__}")

    def _judge(self, workers: Mapping[str, Worker], patience: float) -> None:
        answers: dict[str, Answer] = {}
        problem = ""
        try:
            answers = ask(self.url, tuple(workers), patience)
        except ServiceUnreachable as error:
            problem = str(error)
        self.news.take(problem)
        for hung in self.others.judge(patience, delivers=not problem):
            self.restart(*hung)
        if problem:
            return
        for name, worker in workers.items():
            reason = worker.judge(answers.get(name))
            if reason:
                worker.restarts += 1
                self._workers.pop(name, None)
                self.restart(name, worker.pid, reason)
            self._restarts[name] = worker.restarts


def ask(url: str, queues: Sequence[str], patience_seconds: float) -> dict[str, Answer]:
    """Ask these workers of ours; return what they answered in time, by queue.

    Raises ServiceUnreachable where the broker delivers nothing, so that no silence says anything
    about a worker: also where our own connection goes silent, which is waited for in a thread
    that is given up then.
    """
    outcome: queue.SimpleQueue[dict[str, Answer] | Exception] = queue.SimpleQueue()
    longest = LONGEST_ROUND * patience_seconds

    def asking() -> None:
        try:
            outcome.put(_ask(url, queues, patience_seconds))
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits)
            outcome.put(error)

    threading.Thread(target=asking, name="canary", daemon=True).start()
    try:
        found = outcome.get(timeout=longest)
    except queue.Empty:
        raise ServiceUnreachable(f"the broker does not answer in {longest:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _ask(url: str, queues: Sequence[str], patience_seconds: float) -> dict[str, Answer]:
    from kombu.exceptions import OperationalError

    conn = broker_link.connection(url)
    try:
        with conn:
            conn.ensure_connection(
                max_retries=1, timeout=broker_link.QUICK_SECONDS, interval_start=0.1
            )
            answers = _answers(conn, queues, patience_seconds)
            if not answers and not _delivers(conn, patience_seconds):
                raise ServiceUnreachable("the broker takes messages, and gives none out")
            return answers
    except (OSError, OperationalError, *conn.connection_errors, *conn.channel_errors) as error:
        told = broker_link.described(error, url)
        raise ServiceUnreachable(f"the broker {told}: {broker_link.cure(told, url)}") from None


def _answers(conn: Any, queues: Sequence[str], patience_seconds: float) -> dict[str, Answer]:
    nodes = {programs.node(queue): queue for queue in queues}
    found = _control().broadcast(
        "cprqueue_canary",
        destination=list(nodes),
        reply=True,
        timeout=patience_seconds,
        limit=len(nodes),
        connection=conn,
    )
    waiting = broker_link.lengths(conn, queues)
    return {
        nodes[node]: Answer(waiting=waiting[nodes[node]], **said)
        for reply in found or ()
        for node, said in reply.items()
        if node in nodes and "taken" in said
    }


@cache
def _control() -> Any:
    """Return Celery's way to ask workers; not that of our own app, which loads all they need."""
    from celery import Celery

    control = Celery(set_as_current=False).control
    control.mailbox.producer_pool = None  # or it would open a connection of its own
    return control


def _delivers(conn: Any, patience_seconds: float) -> bool:
    """Tell whether a message of our own comes back."""
    import uuid

    with conn.SimpleBuffer(f"cprqueue.canary.{uuid.uuid4()}") as own:
        own.put("canary")
        try:
            own.get(timeout=patience_seconds)
        except own.Empty:
            return False
        return True
