"""What all pages of one board share: the application, who may log in, and threads to read in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

from cprqueue.bootstrap import Application
from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.services.reports.now import Now
from cprqueue.settings.web import Role, WebUser
from cprqueue.store import schema
from cprqueue.web import secret
from cprqueue.web.kept import Kept
from cprqueue.web.secret import Signer
from cprqueue.web.sessions import Sessions
from cprqueue.web.throttle import Throttle
from cprqueue.web.wire import Place

T = TypeVar("T")
P = ParamSpec("P")

THREADS = 4
"""As many pages are read at once. A login has a thread of its own: it is meant to be slow."""

MOST_WAITING, LONGEST_SECONDS = 50, 90
"""So many pages may be read or wait for that, and so long."""

MOST_WAITING, LONGEST_SECONDS = 50, 90
"""So many pages may be read or wait for that, and so long."""

NOW_SECONDS, STALE_SECONDS = 4, 30
"""How old the page Now may be, so that many readers cost no more than one; and while it is read."""

MOST_LOGINS = 8
"""So many logins may wait for that thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who looks at a page. ``session``: what the person's forms are bound to."""

    name: str
    role: Role
    session: str = ""

    @property
    def may_act(self) -> bool:
        """True for an operator."""
        return self.role is Role.OPERATOR


ANYBODY = Person(name="operator", role=Role.OPERATOR)
"""Who looks at an open board: nobody has logged in."""


@dataclass(slots=True, kw_only=True)
class Board:
    """One board. An open one asks nobody who he is: the demo's, on loopback."""

    app: Application
    users: dict[str, WebUser]
    is_open: bool
    place: Place
    signer: Signer
    sessions: Sessions
    throttle: Throttle = field(default_factory=Throttle)
    now: Kept[Now] = field(default_factory=lambda: Kept(NOW_SECONDS, STALE_SECONDS))
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    logins: int = 0
    _readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="page")
    )
    _login: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="login")
    )
    _has_tables: bool = False
    _waiting: int = 0

    @classmethod
    def of(cls, app: Application, *, is_open: bool) -> Board:
        """Build the board of these settings."""
        settings = app.settings
        settings.make_var_dir()
        users = {user.name.casefold(): user for user in settings.web_users}
        signer = secret.signer(settings.var_dir)
        sessions = Sessions(users, signer, settings.var_dir)
        sessions.load(time.time())
        place = Place(url=settings.web_url, proxies=settings.web_proxies)
        _ = app.db, app.budget, app.rules  # so that no two threads build them at once
        return cls(
            app=app, users=users, is_open=is_open, place=place, signer=signer, sessions=sessions
        )

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread, once the database is known to have our tables.

        Raises ServiceUnreachable where too many wait for a thread, or it takes too long.
        """
        if self._waiting >= MOST_WAITING:
            raise ServiceUnreachable("too many pages are asked for at once: try again in a minute")

        def run() -> T:
            if not self._has_tables:
                self._require_tables()
            return work(*args, **kwargs)

        self._waiting += 1
        try:
            found = asyncio.get_running_loop().run_in_executor(self._readers, run)
            return await asyncio.wait_for(found, LONGEST_SECONDS)
        except TimeoutError:
            raise ServiceUnreachable(
                f"no answer within {LONGEST_SECONDS} s: what was ordered may be done yet; look at "
                "the page again in a minute"
            ) from None
        finally:
            self._waiting -= 1

    def _require_tables(self) -> None:
        try:
            schema.require_current(self.app.db)
        except UsageError as error:  # nobody who reads a page can be blamed for it
            raise ServiceUnreachable(str(error)) from None
        self._has_tables = True

    async def in_login_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work``, one at a time: a password takes memory and a processor."""
        made = partial(work, *args, **kwargs)
        self.logins += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._login, made)
        finally:
            self.logins -= 1

    def close(self) -> None:
        """End the threads, without waiting for them."""
        for pool in (self._readers, self._login):
            pool.shutdown(wait=False, cancel_futures=True)
