"""The access token: the one from the settings, or, with a refresh token, a renewed one.

A refresh gives a new refresh token and spends the old one, so the new pair is committed to the
database, to the disk, before anything else happens. One worker refreshes at a time; the others
find the new token. If the process dies between the answer and the commit, the old refresh
token may be spent: then QuickBooks Time refuses it and a person connects again.

Source: API documentation, "Authentication" and "Refresh"; the refresh carries the old access
token in its header.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.clients.transport import Transport
from cprqueue.domain.models import Json
from cprqueue.errors import (
    AccessStopped,
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
"""Life of a token from the settings, whose real end nobody tells (documented are 10 days)."""

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
        """Tells one pair of the settings from the next without holding it."""
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
        with self.db.begin() as conn:
            now = clock(conn)
            pair = self._pair(conn, now)
        if _renewed_from(pair) > now:
            return pair["access_token"]
        return self._renew_early(pair, now)

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
            if self._pair(conn, now) == pair:
                later = {**pair, "renewed_from": (now + PAUSE).isoformat()}
                app_state.put(conn, self._name, later, now=now)

    def renew(self, refused: str) -> str:
        """Return a token other than ``refused``: another worker's new one, or a fresh one.

        Raises AccessStopped where there is no way to a new token.
        """
        if not self.grant.renewable:
            raise AccessStopped("QuickBooks Time does not accept QBT_ACCESS_TOKEN", 401)
        holder = str(uuid.uuid4())
        pair = self._take_turn(holder, refused)
        if pair["access_token"] != refused:
            return pair["access_token"]
        try:
            return self._keep(pair, self._ask(pair))
        finally:
            with self.db.begin() as conn:
                locks.release(conn, locks.TOKEN, holder)

    def _keep(self, pair: dict[str, str], fresh: dict[str, str]) -> str:
        """Store ``fresh`` in place of ``pair``; return the access token that stands then.

        Where another worker has renewed the same pair meanwhile, its newer one stays.
        """
        with self.db.begin() as conn:
            now = clock(conn)
            read_status = self._pair(conn, now)
            if read_status["refresh_token"] == pair["refresh_token"]:
                app_state.put(conn, self._name, fresh, now=now)
                read_status = fresh
        return read_status["access_token"]

    def expires_at(self) -> datetime | None:
        """Return when the token ends, where that can be known."""
        if not self.grant.renewable:
            return None
        with self.db.begin() as conn:
            return datetime.fromisoformat(self._pair(conn, clock(conn))["expires_at"])

    def _pair(self, conn: Connection, now: datetime) -> dict[str, str]:
        """Return the stored pair; new settings replace one that came from older ones."""
        stored = app_state.get(conn, self._name)
        if isinstance(stored, dict) and stored.get("origin") == self.grant.origin:
            return {name: str(value) for name, value in stored.items()}
        pair = {
            "origin": self.grant.origin,
            "access_token": self.grant.access_token,
            "refresh_token": self.grant.refresh_token,
            **_life(now, ASSUMED_LIFE),
        }
        app_state.put(conn, self._name, pair, now=now)
        return pair

    def _take_turn(self, holder: str, refused: str) -> dict[str, str]:
        """Wait until nobody else refreshes; return the pair that stands then."""
        deadline = time.monotonic() + PATIENCE.total_seconds()
        while True:
            with self.db.begin() as conn:
                now = clock(conn)
                pair = self._pair(conn, now)
                if pair["access_token"] != refused:
                    return pair
                if locks.take(conn, locks.TOKEN, holder, now=now, limit=LOCK_LIMIT):
                    return pair
            if time.monotonic() > deadline:
                raise ServiceUnreachable("another worker is renewing the token and does not end")
            time.sleep(0.2)  # until the other worker has the new token

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
