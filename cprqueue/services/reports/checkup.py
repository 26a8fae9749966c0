"""Check everything that the work needs, one finding after another, each with its cure.

It changes one thing: a stopped push is resumed once QuickBooks Time accepts our requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.clients.rm import RestorationManager
from cprqueue.clients.token import Token
from cprqueue.config import Settings
from cprqueue.errors import (
    AccessStopped,
    CprqueueError,
    DatabaseUnavailable,
    OutOfCalls,
    SettingsError,
    Transient,
    UnreadableAnswer,
)
from cprqueue.services import gates
from cprqueue.services.reports import server_findings, warnings
from cprqueue.services.reports.findings import (
    OK,
    PROBLEM,
    SETTINGS,
    UNREACHABLE,
    WARNING,
    Finding,
    clocks,
    integration,
    jobcode_limit,
    rights,
    token_end,
    unheard_digest,
    wrong_settings,
)
from cprqueue.services.reports.words import shown
from cprqueue.store import clock_steps, links, schema, sqlite_file
from cprqueue.store.database import Database, clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is checked; each is built only when it is checked, because that may fail too.

    ``qbt`` is told whether the tables are there: the call budget lives in them.
    ``broker_problem`` says why the broker does not answer, or ""; ``broker`` checks all of it.
    """

    db: Callable[[], Database]
    rm: Callable[[], RestorationManager]
    qbt: Callable[[bool], QuickBooksTime]
    token: Callable[[], Token]
    broker_problem: Callable[[], str]
    broker: Callable[[], Iterator[Finding]]


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
        missing, unusable = list(self._missing()), list(self._unusable())
        fine = Finding(name="settings", state=OK, text="complete and well-formed")
        yield from missing + unusable or [fine]
        yield from unheard_digest(self.settings)
        if unusable:  # the database and the broker live there
            return
        yield self._database()
        yield from server_findings.check(self.db if self.has_tables else None)
        yield from self.parts.broker()
        if missing:
            return
        yield self._rm()
        account = list(self._account())
        yield from account
        yield from self._token_end()
        yield clocks(self.ahead)
        yield from self._steps()
        yield from self._push(healthy=all(f.fine for f in account))
        yield from self._names()

    def _missing(self) -> Iterator[Finding]:
        try:
            self.settings.require_services()
        except SettingsError as error:
            yield from wrong_settings(error)

    def _unusable(self) -> Iterator[Finding]:
        try:
            self.settings.make_var_dir()
        except SettingsError as error:
            yield from wrong_settings(error)
        else:
            if full := self.settings.full_disk():
                yield Finding(name="disk", state=UNREACHABLE, text=full)

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
            schema.require_names_free(db)
            if self.settings.broker_is_embedded and not self.parts.broker_problem():
                text = f"{db.name} has no tables, though `cprqueue up` runs: its file was deleted"
                return Finding(name="database", state=PROBLEM, text=text, cure=sqlite_file.PUT_BACK)
            text = f"{db.name} is reachable and has no tables yet"
            return Finding(name="database", state=WARNING, text=text, cure=cure)
        newer = schema.is_newer(db)
        text = f"{db.name} has the tables of {'a newer' if newer else 'an older'} version"
        cure = schema.NEWER if newer else cure
        return Finding(name="database", state=PROBLEM, text=text, cure=cure)

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
        """Ask for the token's user and the account's settings: two calls."""
        name = "QuickBooks Time"
        if self.db is None:
            text = "not asked: the token and the call budget are in the database"
            yield Finding(name=name, state=PROBLEM, text=text, cure="correct the database first")
            return
        try:
            qbt = self.parts.qbt(self.has_tables)
            user, sections = qbt.current_user(), qbt.effective_settings()
        except OutOfCalls as error:
            text = f"not asked: {error}"
            yield Finding(
                name=name, state=PROBLEM, text=text, cure="run `cprqueue check` again then"
            )
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
            end = self.parts.token().expires_at()
            yield token_end(end, self._shown(end), now=datetime.now(UTC))
        except CprqueueError as error:
            yield _failed("token's end", error, "correct the database first")

    def _push(self, *, healthy: bool) -> Iterator[Finding]:
        if self.db is None or not self.has_tables:
            return
        with self.db.read() as conn:
            stopped = gates.push_stopped(conn)
        since = self._shown(datetime.fromisoformat(stopped.since)) if stopped else ""
        if stopped is None:
            yield Finding(name="push", state=OK, text="not stopped")
        elif healthy:
            gates.resume_push(self.db)
            text = f"goes on now; it was stopped since {since}: {stopped.text}"
            yield Finding(name="push", state=OK, text=text)
        else:
            text = f"stopped since {since}: {stopped.text}"
            cure = "it goes on when the lines above are OK"
            yield Finding(name="push", state=PROBLEM, text=text, cure=cure)

    def _shown(self, moment: datetime | None) -> str:
        return shown(moment, self.settings.timezone)

    def _steps(self) -> Iterator[Finding]:
        """Say that the database's clock was stepped: what was stamped has moved along."""
        if self.db is None or not self.has_tables:
            return
        clock_steps.watch(self.db)
        with self.db.read() as conn:
            for text in warnings.about_steps(conn):
                yield Finding(name="clock step", state=WARNING, text=text)

    def _names(self) -> Iterator[Finding]:
        """Name the jobs whose number a jobcode has that lies below a customer or project."""
        if self.db is None or not self.has_tables:
            return
        cure = "rename it there, or let crews use the one at the top"
        with self.db.read() as conn:
            for text in warnings.about_namesakes(conn):
                yield Finding(name="names", state=WARNING, text=text, cure=cure)

    def _note_clock(self, name: str, ahead: timedelta | None) -> None:
        if ahead is not None:
            self.ahead[name] = ahead


def _failed(name: str, error: CprqueueError, cure: str) -> Finding:
    state = UNREACHABLE if isinstance(error, Transient) else PROBLEM
    text = str(error).removesuffix(f": {cure}")  # RestorationManager's errors end with it
    return Finding(name=name, state=state, text=text, cure=cure)


def _qbt_cure(error: CprqueueError) -> str:
    if isinstance(error, AccessStopped):
        return gates.CURES.get(error.status, "see the API documentation")
    if isinstance(error, DatabaseUnavailable):
        return "correct the database first"
    if isinstance(error, UnreadableAnswer):
        return "check QBT_BASE_URL"
    return "check QBT_BASE_URL and the network, then check again"
