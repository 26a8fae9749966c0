"""The access token: the one from the settings, or, with a refresh token, a renewed one.

A refresh gives a new refresh token and spends the old one, so the new pair is committed to the
database, to the disk, before anything else happens. One worker refreshes at a time, under a
lock; the others find the new token. A worker that was suspended for longer than its lock holds
asks with a spent token or too late: a refusal counts only while the pair is still on record
and nobody else is renewing it, and an answer is stored only where it still is. If the process
dies between the answer and the commit, the old refresh token may be spent: then QuickBooks Time
refuses it and a person connects again.

Source: API documentation, "Authentication" and "Refresh"; the refresh carries the old access
token in its header.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cprqueue import failpoints
from cprqueue.clients.transport import Transport
from cprqueue.domain.models import Json
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    CprqueueError,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    UnreadableAnswer,
)
from cprqueue.store import app_state, locks
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

NAME = "qbt_token"
EARLY = timedelta(days=1)
"""A token is renewed this long before it ends: a refused refresh leaves a day to act. One that
lives for less than four days is renewed when three quarters of its life are over."""

PAUSE = timedelta(minutes=10)
"""After an early renewal that failed the next one is tried; each call would be too often."""

ASSUMED_LIFE = timedelta(days=6)
"""Life of a token from the settings, whose real end is not known (documented are 10 days)."""

LOCK_LIMIT = timedelta(seconds=150)
"""A renewal is one request, which ends sooner than this however slow it is: two at once would
spend each other's refresh token."""

PATIENCE = timedelta(seconds=60)
"""Whoever needs the token waits so long for another worker's renewal, then tries again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What /grant needs besides the refresh token. Empty: a hand-made token, never renewed."""

    access_token: str
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""

    @property
    def renewable(self) -> bool:
        """True where the settings allow to renew the token."""
        return bool(self.client_id and self.client_secret and self.refresh_token)

    @property
    def origin(self) -> str:
        """A digest that distinguishes one pair of the settings from the next."""
        text = f"{self.access_token}\n{self.refresh_token}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Token:
    """Gives the access token to use now. ``now`` comes from the database's clock."""

    def __init__(self, db: Database, transport: Transport, grant: Grant) -> None:
        self.db = db
        self.transport = transport
        self.grant = grant

    @property
    def _name(self) -> str:
        """Where the pair is kept: one place for each pair of the settings.

        So a mistyped setting, put right later, does not cost the renewed pair.
        """
        return f"{NAME}:{self.grant.origin}"

    def current(self) -> str:
        """Return the token for the next request, renewed first if its end is near."""
        if not self.grant.renewable:
            return self.grant.access_token
        pair = self._read()
        with self.db.read() as conn:
            now = clock(conn)
        return pair["access_token"] if _renewed_from(pair) > now else self._renew_early(pair, now)

    def _renew_early(self, pair: dict[str, str], now: datetime) -> str:
        try:
            return self.renew(pair["access_token"])
        except CprqueueError as error:
            if datetime.fromisoformat(pair["expires_at"]) <= now:
                raise
            log.warning("token not renewed yet", extra={"reason": str(error)})
            self._put_off(pair)
            return pair["access_token"]  # still good

    def _put_off(self, pair: dict[str, str]) -> None:
        with self.db.begin() as conn:
            now = clock(conn)
            later = {**pair, "renewed_from": (now + PAUSE).isoformat()}
            app_state.swap(conn, self._name, pair, later, now=now)

    def renew(self, refused: str) -> str:
        """Return a token other than ``refused``: another worker's new one, or a fresh one.

        Raises AccessStopped where there is no way to a new token, and ServiceUnreachable where
        another worker renews it and does not end.
        """
        if not self.grant.renewable:
            raise AccessStopped("QuickBooks Time does not accept QBT_ACCESS_TOKEN", 401)
        deadline = time.monotonic() + PATIENCE.total_seconds()
        busy = "another worker is renewing the token and does not end"
        while True:
            try:
                with locks.hold(self.db, locks.TOKEN, limit=LOCK_LIMIT, busy=busy) as keep_turn:
                    return self._renewed(refused, keep_turn)
            except AlreadyRunning as error:
                if time.monotonic() > deadline:
                    raise ServiceUnreachable(str(error)) from None
            time.sleep(0.2)  # until the other worker has the new token

    def _renewed(self, refused: str, keep_turn: Callable[[], None]) -> str:
        pair = self._read()
        if pair["access_token"] != refused:
            return pair["access_token"]
        keep_turn()  # with time for a whole request, also if we were suspended just now
        failpoints.point("before_grant")
        try:
            fresh = self._ask(pair)
        except AccessStopped:
            keep_turn()
            pair = self._read()
            if pair["access_token"] == refused:
                raise
            return pair["access_token"]  # another worker was quicker while we were suspended
        with self.db.begin() as conn:
            app_state.swap(conn, self._name, pair, fresh, now=clock(conn))
        return self._read()["access_token"]

    def stored(self) -> str:
        """Return the token on record, or the settings' own; nothing is renewed or written."""
        with self.db.read() as conn:
            pair = app_state.get(conn, self._name) if self.grant.renewable else None
        return str(pair["access_token"]) if isinstance(pair, dict) else self.grant.access_token

    def expires_at(self) -> datetime | None:
        """Return when the token ends, where that can be known."""
        if not self.grant.renewable:
            return None
        return datetime.fromisoformat(self._read()["expires_at"])

    def _read(self) -> dict[str, str]:
        """Return the stored pair; the first time, the settings' own."""
        with self.db.begin() as conn:
            now = clock(conn)
            pair = {
                "origin": self.grant.origin,
                "access_token": self.grant.access_token,
                "refresh_token": self.grant.refresh_token,
                **_life(now, ASSUMED_LIFE),
            }
            if app_state.put_first(conn, self._name, pair, now=now):
                return pair
            stored = app_state.get(conn, self._name)
        if not isinstance(stored, dict):
            raise UnreadableAnswer("the stored pair of tokens cannot be read: connect again")
        return {name: str(value) for name, value in stored.items()}

    def _ask(self, pair: dict[str, str]) -> dict[str, str]:
        form = {
            "grant_type": "refresh_token",
            "client_id": self.grant.client_id,
            "client_secret": self.grant.client_secret,
            "refresh_token": pair["refresh_token"],
        }
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        try:
            reply = self.transport.request("POST", "/grant", form=form, headers=headers)
        except (Refused, AccessStopped) as error:
            if isinstance(error, Refused) and error.status not in (400, 404):
                # Not of the request that waits for the token, which would be blamed for it.
                raise ServiceFailed(str(error)) from None
            if error.status not in (400, 401, 404):
                raise
            raise AccessStopped(
                "QuickBooks Time refuses the refresh token: connect again and put the new "
                "QBT_ACCESS_TOKEN and QBT_REFRESH_TOKEN into .env",
                401,
            ) from None
        with self.db.read() as conn:
            return _read_pair(reply.json(), self.grant.origin, clock(conn))


def _read_pair(data: Json, origin: str, now: datetime) -> dict[str, str]:
    if not isinstance(data, dict) or not data.get("access_token") or not data.get("refresh_token"):
        raise UnreadableAnswer("QuickBooks Time: POST /grant answered without a pair of tokens")
    try:
        life = timedelta(seconds=float(str(data.get("expires_in", 0))))
    except ValueError:
        life = timedelta(0)
    return {
        "origin": origin,
        "access_token": str(data["access_token"]),
        "refresh_token": str(data["refresh_token"]),
        **_life(now, life if life > timedelta(0) else ASSUMED_LIFE),
    }


def _life(now: datetime, life: timedelta) -> dict[str, str]:
    end = now + life
    return {
        "expires_at": end.isoformat(),
        "renewed_from": (end - min(EARLY, life / 4)).isoformat(),
    }


def _renewed_from(pair: dict[str, str]) -> datetime:
    """Return from when on the token is to be renewed."""
    if "renewed_from" in pair:
        return datetime.fromisoformat(pair["renewed_from"])
    return datetime.fromisoformat(pair["expires_at"]) - EARLY
