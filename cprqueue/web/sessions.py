"""Sessions: a signed cookie that says who logged in, and until when.

Its signature covers the user's line in CPR_WEB_USERS: who is taken out of it, or gets another
password or role, has no session any more. One that was ended by log-out is remembered until it
would have ended by itself, in a file, so that a restart does not bring it back.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cprqueue.settings.web import WebUser
from cprqueue.web.secret import Signer

log = logging.getLogger(__name__)

LASTS_SECONDS = 12 * 3600
ENDED = "web-ended-sessions"
PURPOSE = "session"
LONGEST_COOKIE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is logged in; ``key`` is new with each log-in."""

    key: str
    user: WebUser
    until: int


class Sessions:
    """Begins, recognizes and ends sessions. ``now`` is in seconds since 1970."""

    def __init__(self, users: Mapping[str, WebUser], signer: Signer, var_dir: Path) -> None:
        self._users, self._signer = users, signer
        self._path = var_dir / ENDED
        self._ended: dict[str, int] = {}

    def load(self, now: float) -> None:
        """Read which sessions were ended, and forget those that would be over by now."""
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return
        found = (line.partition(" ") for line in lines)
        known = {key: int(until) for key, _, until in found if _is_int(until)}
        self._ended = {key: until for key, until in known.items() if until > now}
        trial = self._path.with_name(f"{ENDED}-new")
        _append(trial, self._ended, os.O_TRUNC)
        trial.replace(self._path)

    def begin(self, user: WebUser, now: float) -> tuple[Session, str]:
        """Return a new session, and its cookie's text."""
        made = Session(key=secrets.token_hex(16), user=user, until=int(now) + LASTS_SECONDS)
        return made, "|".join((user.name, made.key, str(made.until), self._signature(made)))

    def find(self, cookie: str, now: float) -> Session | None:
        """Return the session of a cookie, or None where there is none any more."""
        parts = cookie.split("|") if len(cookie) <= LONGEST_COOKIE else []
        if len(parts) != 4 or not _is_int(parts[2]):
            return None
        user = self._users.get(parts[0].casefold())
        if user is None:
            return None
        found = Session(key=parts[1], user=user, until=int(parts[2]))
        signed = self._signer.is_right(parts[3], PURPOSE, *self._signed(found))
        return found if signed and now < found.until and found.key not in self._ended else None

    def end(self, session: Session) -> None:
        """End it at once, also for whoever has copied its cookie."""
        self._ended[session.key] = session.until
        try:
            _append(self._path, {session.key: session.until}, os.O_APPEND)
        except OSError as error:  # it has ended all the same, until the board starts again
            log.error("an ended session is not on disk", extra={"reason": error.strerror})

    def _signature(self, session: Session) -> str:
        return self._signer.sign(PURPOSE, *self._signed(session))

    def _signed(self, session: Session) -> tuple[str, str, str]:
        return session.user.text(), session.key, str(session.until)


def _is_int(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12


def _append(path: Path, ended: Mapping[str, int], how: int) -> None:
    text = "".join(f"{key} {until}\n" for key, until in ended.items())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
        file.write(text)
