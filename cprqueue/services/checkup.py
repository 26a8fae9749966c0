"""Check everything that the work needs, one finding after another, each with its cure.

It changes nothing, but for this: once QuickBooks Time lets us work again, a stopped push goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cprqueue.config import Settings
from cprqueue.errors import (
    AccessStopped,
    CprqueueError,
    OutOfCalls,
    SettingsError,
    Transient,
    UnreadableAnswer,
)
from cprqueue.mapping import truth
from cprqueue.qbtime import QuickBooksTime
from cprqueue.rm import RestorationManager
from cprqueue.services import stop
from cprqueue.services.token import Token
from cprqueue.store import links, schema
from cprqueue.store.database import Database, clock

OK, WARNING, PROBLEM, UNREACHABLE, SETTINGS = "ok", "warning", "problem", "unreachable", "settings"

CLOCK_WARNING = timedelta(seconds=60)
CLOCK_PROBLEM = timedelta(minutes=5)
TOKEN_WARNING = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the check. ``state``: ok, warning, problem, unreachable, settings."""

    name: str
    state: str
    text: str
    cure: str = ""

    @property
    def fine(self) -> bool:
        """True where nothing has to be done before work can begin."""
        return self.state in (OK, WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is checked; each is built when its turn comes, because that may fail too.

    ``qbt`` is told whether the tables are there: the call budget lives in them.
    ``broker_problem`` says what is wrong with the broker, or "".
    """

    db: Callable[[], Database]
    rm: Callable[[], RestorationManager]
    qbt: Callable[[bool], QuickBooksTime]
    token: Callable[[], Token]
    broker_problem: Callable[[], str]
    alert: Callable[[str, str], None]


class Checkup:
    """One check of everything."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.settings = settings
        self.parts = parts
        self.ahead: dict[str, timedelta] = {}
        self.db: Database | None = None
        self.has_tables = False

    def run(self) -> Iterator[Finding]:
        """Yield one finding after another."""
        missing = list(self._missing())
        yield from missing or [Finding(name="settings", state=OK, text="complete and well-formed")]
        yield self._database()
        yield self._broker()
        if missing:
            return
        yield self._rm()
        account = list(self._account())
        yield from account
        yield from self._token_end()
        yield clocks(self.ahead)
        yield from self._push(healthy=all(f.fine for f in account))

    def _missing(self) -> Iterator[Finding]:
        try:
            self.settings.require_services()
        except SettingsError as error:
            yield from wrong_settings(error)

    # --- our own parts ---

    def _database(self) -> Finding:
        try:
            return self._tables(self.parts.db())
        except SettingsError as error:
            return Finding(name="database", state=SETTINGS, text=str(error))
        except CprqueueError as error:
            return _failed("database", error, "")
        except (SQLAlchemyError, OSError) as error:
            text = str(getattr(error, "orig", error)).splitlines()[0]
            return Finding(name="database", state=PROBLEM, text=text, cure="check DATABASE_URL")

    def _tables(self, db: Database) -> Finding:
        with db.read() as conn:
            self.ahead["the database"] = clock(conn) - datetime.now(UTC)
        self.db = db
        self.has_tables = schema.is_current(db)
        if self.has_tables:
            text = f"{db.name} is reachable, its tables are up to date"
            return Finding(name="database", state=OK, text=text)
        cure = "`cprqueue up` makes them"
        if schema.is_empty(db):
            text = f"{db.name} is reachable and has no tables yet"
            return Finding(name="database", state=WARNING, text=text, cure=cure)
        text = f"{db.name} has the tables of another version"
        return Finding(name="database", state=PROBLEM, text=text, cure=cure)

    def _broker(self) -> Finding:
        problem = self.parts.broker_problem()
        if not problem:
            return Finding(name="broker", state=OK, text="answers")
        if self.settings.broker_is_embedded:
            text, cure = "the embedded one is not running", "`cprqueue up` starts it"
            return Finding(name="broker", state=WARNING, text=text, cure=cure)
        return Finding(name="broker", state=UNREACHABLE, text=problem)

    # --- RestorationManager ---

    def _rm(self) -> Finding:
        name = "RestorationManager"
        try:
            rm = self.parts.rm()
            rm.probe(since=datetime.now(UTC))
        except AccessStopped as error:
            cure = "check RM_USERNAME, RM_PASSWORD and RM_API_SECRET"
            return _failed(name, error, cure)
        except CprqueueError as error:
            return _failed(name, error, "check RM_BASE_URL and the network")
        self._note_clock(name, rm.transport.ahead)
        return Finding(name=name, state=OK, text="login and secret are accepted")

    # --- QuickBooks Time ---

    def _account(self) -> Iterator[Finding]:
        """Ask as whom we work and how the account is set up: two calls."""
        name = "QuickBooks Time"
        if self.db is None:
            text = "not asked: the token and the call budget are in the database"
            yield Finding(name=name, state=PROBLEM, text=text, cure="see to the database first")
            return
        try:
            qbt = self.parts.qbt(self.has_tables)
            user, sections = qbt.current_user(), qbt.effective_settings()
        except OutOfCalls as error:
            text = f"not asked: {error}"
            yield Finding(name=name, state=PROBLEM, text=text, cure="check again then")
            return
        except CprqueueError as error:
            yield _failed(name, error, _qbt_cure(error))
            return
        self._note_clock(name, qbt.transport.ahead)
        yield Finding(name=name, state=OK, text="the token is accepted")
        yield rights(user)
        yield integration(sections)
        yield jobcode_limit(sections, self._active())

    def _active(self) -> int:
        if self.db is None or not self.has_tables:
            return 0
        with self.db.read() as conn:
            return links.counts(conn)["active"]

    def _token_end(self) -> Iterator[Finding]:
        if self.db is None or not self.has_tables:
            return
        try:
            yield token_end(self.parts.token().expires_at(), now=datetime.now(UTC))
        except CprqueueError as error:
            yield _failed("token's end", error, "see to the database first")

    def _push(self, *, healthy: bool) -> Iterator[Finding]:
        if self.db is None or not self.has_tables:
            return
        with self.db.read() as conn:
            stopped = stop.stopped(conn)
        if stopped is None:
            yield Finding(name="push", state=OK, text="not stopped")
        elif healthy:
            stop.resume(self.db, self.parts.alert)
            text = f"goes on now; it was stopped since {stopped['since'][:16]}: {stopped['text']}"
            yield Finding(name="push", state=OK, text=text)
        else:
            text = f"stopped since {stopped['since'][:16]}: {stopped['text']}"
            cure = "it goes on by itself when the lines above are OK"
            yield Finding(name="push", state=PROBLEM, text=text, cure=cure)

    def _note_clock(self, name: str, ahead: timedelta | None) -> None:
        if ahead is not None:
            self.ahead[name] = ahead


def wrong_settings(error: SettingsError) -> list[Finding]:
    """Return a finding for each wrong or missing setting."""
    return [Finding(name="settings", state=SETTINGS, text=text) for text in error.problems]


def rights(user: Mapping[str, Any]) -> Finding:
    """Judge whether the token's user may do what we need."""
    found = user.get("permissions")
    held = found if isinstance(found, Mapping) else {}
    for right in ("admin", "manage_jobcodes"):
        if truth(held.get(right)):
            return Finding(name="rights", state=OK, text=f"the token's user has {right}")
    return Finding(
        name="rights",
        state=PROBLEM,
        text="the token's user has neither admin nor manage_jobcodes",
        cure="use the token of an administrator, or give that user 'manage jobcodes'",
    )


def integration(sections: Mapping[str, Any]) -> Finding:
    """Warn where QuickBooks itself has a hand in the jobcodes."""
    name = "integration"
    if not truth(_setting(sections, "quickbooks", "installed")):
        return Finding(name=name, state=OK, text="QuickBooks is not connected to the account")
    return Finding(
        name=name,
        state=WARNING,
        text="QuickBooks is connected: it may add, rename or archive jobcodes too",
        cure="let it sync no customers, or look at `cprqueue history` for drift",
    )


def jobcode_limit(sections: Mapping[str, Any], active: int) -> Finding:
    """Judge whether the account takes as many jobcodes as there are active jobs."""
    name, text = "jobcode limit", str(_setting(sections, "general", "max_jobcodes") or "-1").strip()
    limit = int(text) if text.isdecimal() else -1
    if limit < 0:
        return Finding(name=name, state=OK, text="none")
    said = f"{limit} for the account, {active} jobs are active"
    if active < limit * 0.9:
        return Finding(name=name, state=OK, text=said)
    state = PROBLEM if active > limit else WARNING
    return Finding(name=name, state=state, text=said, cure="ask QuickBooks Time for a higher one")


def _setting(sections: Mapping[str, Any], section: str, name: str) -> Any:
    found = sections.get(section)
    values = found.get("settings") if isinstance(found, Mapping) else None
    return values.get(name) if isinstance(values, Mapping) else None


def token_end(expires_at: datetime | None, *, now: datetime) -> Finding:
    """Judge how long the token will do; None: a token made by hand, whose end nobody tells."""
    name = "token's end"
    if expires_at is None:
        text = "not known for a token made by hand; QuickBooks Time shows it under API"
        return Finding(name=name, state=OK, text=text)
    text = f"{expires_at:%Y-%m-%d %H:%M} UTC; it is renewed by itself before"
    if expires_at > now:
        return Finding(name=name, state=OK, text=text)
    cure = "connect again: put a new QBT_ACCESS_TOKEN and QBT_REFRESH_TOKEN into .env"
    return Finding(name=name, state=PROBLEM, text=f"ended {expires_at:%Y-%m-%d}", cure=cure)


def clocks(ahead: Mapping[str, timedelta]) -> Finding:
    """Compare our clock with the others: warn above a minute, a problem above five."""
    if not ahead:
        return Finding(name="clocks", state=WARNING, text="no other clock could be read")
    wrong = {name: off for name, off in ahead.items() if abs(off) > CLOCK_WARNING}
    if not wrong:
        text = f"ours and those of {', '.join(ahead)} agree"
        return Finding(name="clocks", state=OK, text=text)
    return Finding(
        name="clocks",
        state=PROBLEM if max(map(abs, wrong.values())) > CLOCK_PROBLEM else WARNING,
        text="; ".join(_off(name, off) for name, off in wrong.items()),
        cure="let the machine with the wrong clock follow a time server",
    )


def _off(name: str, off: timedelta) -> str:
    side = "ahead of" if off > timedelta(0) else "behind"
    return f"{name} is {abs(off).total_seconds():.0f} s {side} our clock"


def _failed(name: str, error: CprqueueError, cure: str) -> Finding:
    state = UNREACHABLE if isinstance(error, Transient) else PROBLEM
    return Finding(name=name, state=state, text=str(error), cure=cure)


def _qbt_cure(error: CprqueueError) -> str:
    if isinstance(error, AccessStopped):
        return stop.CURES.get(error.status, "see the API documentation")
    if isinstance(error, UnreadableAnswer):
        return "check QBT_BASE_URL"
    return "check QBT_BASE_URL and the network, then check again"
