"""``health``: ends with 0 only if this installation does its work; for monitors and containers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy.exc import DBAPIError

from cprqueue.bootstrap import application
from cprqueue.cli import broker_state
from cprqueue.cli.console import print_json, show_outcomes
from cprqueue.errors import CprqueueError, ServiceUnreachable
from cprqueue.runtime import timetable
from cprqueue.services import health as healthy
from cprqueue.services import signs
from cprqueue.services.health import Check
from cprqueue.services.signs import Signs
from cprqueue.store import schema
from cprqueue.store.database import first_line

PATIENCE_SECONDS = 3.0
BUSY_SECONDS = 0.5


def health(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say whether this installation does its work; ends with 0 only if it does.

    That is: a good fetch within three of its intervals, beat and a worker on each
    queue at work, database and broker in reach, the push not stopped. Ends with 1 if
    something is not so, 3 if database or broker are out of reach. A new installation
    is healthy after its first fetch: give a container a start period of ten minutes.

    Example:  cprqueue health
    """
    found, code = _all_checks()
    if json:
        print_json({"ok": code == 0, "checks": [asdict(each) for each in found]})
    else:
        show_outcomes((each.ok, each.name, each.text) for each in found)
    raise typer.Exit(code)


def _all_checks() -> tuple[list[Check], int]:
    """Return all checks and the exit code."""
    application()  # wrong settings end it here
    asked = {"database": _Question(_signs), "broker": _Question(_ask_broker)}
    answers = {name: question.answer() for name, question in asked.items()}
    found = [_reached(name, answer) for name, answer in answers.items()]
    seen = answers["database"]
    if isinstance(seen, Signs):
        found += [*healthy.checks(seen), *_queues(seen, ask=answers["broker"] is None)]
    if all(each.ok for each in found):
        return found, 0
    return found, 3 if any(isinstance(a, ServiceUnreachable) for a in answers.values()) else 1


def _reached(name: str, answer: object) -> Check:
    fine = not isinstance(answer, CprqueueError)
    return Check(name=name, ok=fine, text="answers" if fine else str(answer))


def _signs() -> Signs:
    from cprqueue.celery import app

    db = application().db
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
