"""The one place that alerts people: once for each change of state, out of the database.

A round reads what is the case, compares it with the book (table ``state``: what was told), writes
the alerts that follow into the book, sends each to each URL, and notes each URL that took it. The
book is only written where it is as it was read, and names until when its writer sends: of two hosts
one does. Killed before a note, the next round sends that one again; so an alert may come twice, and
is never lost. A round that was suspended for longer than its time finds the book changed and ends.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day
from pathlib import Path

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.domain.alerting import Alert, Condition, Told, settle
from cprqueue.domain.models import Json
from cprqueue.services import conditions, digest, signs
from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

BOOK = "alerts"
SENDS_FOR = timedelta(minutes=2)
ROUND_SECONDS = 60

Send = Callable[[str, Alert], str]
"""Sends an alert to a URL; returns why it did not go, or ""."""


@dataclass(slots=True, kw_only=True)
class Alerting:
    """Alerts of one installation to ``urls``. ``digest_at``: when the morning's lines are sent."""

    db: Database
    urls: Sequence[str]
    send: Send
    var_dir: Path
    digest_at: time_of_day | None
    timezone: tzinfo
    _was: Json = field(default=None, init=False)

    def tell(self, latest: signs.Latest) -> None:
        """Do one round; nothing where another host is at one, or nobody listens."""
        ids = {_id(url): url for url in self.urls}
        if not ids:
            return
        with self.db.begin() as conn:
            book = self._settled(conn, latest, list(ids))
        if book is not None:
            self._deliver(book, ids)

    def _settled(
        self, conn: Connection, latest: signs.Latest, ids: Sequence[str]
    ) -> dict[str, Told] | None:
        """Return the book with the alerts to send; None where there are none, or not ours."""
        now = clock(conn)
        self._was = app_state.get(conn, BOOK)
        stored = self._was if isinstance(self._was, dict) else {}
        if _is_sending(stored.get("until"), now):
            return None
        told = stored.get("told")
        before = {k: Told.of_json(v) for k, v in told.items()} if isinstance(told, dict) else {}
        found = self._found(conn, latest, before, now, listened=bool(stored))
        book = settle(before, found, now, host=conditions.HOST, urls=ids)
        sends = any(each.left for each in book.values())
        if book == before and not sends and stored:
            return None
        return book if self._put(conn, book, now, until=now + SENDS_FOR) and sends else None

    def _found(
        self,
        conn: Connection,
        latest: signs.Latest,
        before: dict[str, Told],
        now: datetime,
        *,
        listened: bool,
    ) -> list[Condition]:
        seen = signs.read(conn, latest)
        found = conditions.find(conn, seen, before, self.var_dir, listened=listened)
        if self.digest_at is None:
            return found
        due = digest.due(now, self.digest_at, self.timezone)
        return [*found, *digest.as_conditions(conn, due, before, latest)]

    def _deliver(self, book: dict[str, Told], ids: dict[str, str]) -> None:
        deadline = time.monotonic() + ROUND_SECONDS
        for name, told in list(book.items()):
            for url in [url for url in ids if told.is_due(url)]:
                if time.monotonic() > deadline:
                    break
                reason = self.send(ids[url], told.alert) if told.alert else ""
                failpoints.point("sent_alert")
                if reason:
                    log.error("alert not sent", extra={"title": name, "reason": reason})
                    continue
                book[name] = book[name].sent(url)
                if not self._note(book):
                    return
            if told.left:
                book[name] = book[name].tried(ids)
        self._note(book, over=True)

    def _note(self, book: dict[str, Told], *, over: bool = False) -> bool:
        """Write the book, if it is still as we wrote it; ``over``: others may send now."""

        def put(conn: Connection) -> bool:
            now = clock(conn)
            return self._put(conn, book, now, until=now if over else now + SENDS_FOR)

        return self.db.retrying(put)

    def _put(
        self, conn: Connection, book: dict[str, Told], now: datetime, *, until: datetime
    ) -> bool:
        told: Json = {name: each.as_json() for name, each in book.items()}
        sends = any(each.left for each in book.values())
        value: Json = {"until": until.isoformat() if sends else "", "told": told}
        if self._was is None:
            done = app_state.put_first(conn, BOOK, value, now=now)
        else:
            done = app_state.swap(conn, BOOK, self._was, value, now=now)
        self._was = app_state.get(conn, BOOK) if done else self._was
        return done


def _id(url: str) -> str:
    """Return what a URL is called in the database, where its password has no place."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _is_sending(until: Json, now: datetime) -> bool:
    """Tell whether somebody sends now; a moment that lies far ahead is of another clock."""
    if not isinstance(until, str) or not until:
        return False
    return now < datetime.fromisoformat(until) <= now + 2 * SENDS_FOR
