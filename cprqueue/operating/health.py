"""The lines of ``health``: whether this installation does its work; no question waits long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError

from cprqueue.bootstrap import Application
from cprqueue.errors import CprqueueError, ServiceUnreachable
from cprqueue.operating import broker_state
from cprqueue.runtime import timetable
from cprqueue.services import health as healthy
from cprqueue.services import signs
from cprqueue.services.health import Check
from cprqueue.services.signs import Signs
from cprqueue.store import schema
from cprqueue.store.database import Database, first_line

PATIENCE_SECONDS = 3.0
BUSY_SECONDS = 0.5

DONE, PROBLEM, UNREACHABLE = 0, 1, 3
"""What the command ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All checks, and what they come to: DONE, PROBLEM or UNREACHABLE.

    ``seen``: the signs in the database, where it answers.
    """

    checks: list[Check]
    code: int
    seen: Signs | None


def ask(app: Application) -> Health:
    """Ask everything; takes some seconds at most."""
    asked = {"database": _Question(partial(_signs, app.db)), "broker": _Question(_ask_broker)}
    answers = {name: question.answer() for name, question in asked.items()}
    found = [_reached(name, answer) for name, answer in answers.items()]
    database = answers["database"]
    seen = database if isinstance(database, Signs) else None
    if seen is not None:
        found += [*healthy.checks(seen), *_queues(seen, ask=answers["broker"] is None)]
    if all(each.ok for each in found):
        return Health(checks=found, code=DONE, seen=seen)
    away = any(isinstance(answer, ServiceUnreachable) for answer in answers.values())
    return Health(checks=found, code=UNREACHABLE if away else PROBLEM, seen=seen)


def _reached(name: str, answer: object) -> Check:
    fine = not isinstance(answer, CprqueueError)
    return Check(name=name, ok=fine, text="answers" if fine else str(answer))


def _signs(db: Database) -> Signs:
    from cprqueue.celery import app

    try:
        schema.require_current(db)
        with db.read() as conn:
            return signs.read(conn, timetable.latest(app))
    except DBAPIError as error:
        text = f"the database refuses: {first_line(error)}: check DATABASE_URL"
        raise ServiceUnreachable(text) from None


def _ask_broker() -> None:
    with broker_state.connection() as conn:
        broker_state.raise_if_blocked(conn)


def _queues(found: Signs, *, ask: bool) -> list[Check]:
    """Check each queue; where none of its messages was taken lately, the workers are asked."""
    from cprqueue.celery import QUEUES

    quiet = not all(found.took(name) for name in QUEUES)
    answer = _Question(_busy).answer() if ask and quiet else None
    at_work = answer if isinstance(answer, set) else set()
    return [healthy.queue_check(found, name, busy=name in at_work) for name in QUEUES]


def _busy() -> set[str]:
    """Return the queues of which a worker that answers carries out a message now."""
    from cprqueue.celery import app

    with broker_state.connection() as conn:
        asked = app.control.inspect(timeout=BUSY_SECONDS, connection=conn)
        tasks = [task for each in (asked.active() or {}).values() for task in each]
    return {str((task.get("delivery_info") or {}).get("routing_key")) for task in tasks}


class _Question:
    """Something that is asked in a thread of its own: who stays silent is out of reach."""

    def __init__(self, ask: Callable[[], object]) -> None:
        import cprqueue.celery  # noqa: F401  (which takes a while, and is nobody's silence)

        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._put, args=(ask,), daemon=True).start()

    def _put(self, ask: Callable[[], object]) -> None:
        try:
            self._answers.put(ask())
        except Exception as error:  # noqa: BLE001  (raised, or said, by whoever waits)
            self._answers.put(error)

    def answer(self) -> object:
        """Return the answer, or the error of ours that came instead; other errors are raised."""
        try:
            found = self._answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            return ServiceUnreachable(f"no answer within {PATIENCE_SECONDS:g} s: `cprqueue check`")
        if isinstance(found, Exception) and not isinstance(found, CprqueueError):
            raise found
        return found
