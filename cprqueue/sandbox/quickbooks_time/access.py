"""Tokens, their renewal through ``/grant``, and the calls each token may make."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cprqueue.sandbox.quickbooks_time.switches import Switches
from cprqueue.sandbox.wire import Answer, Request


@dataclass(slots=True)
class Access:
    """Who may call, and how often. ``now`` is exact; the windows need fractions of seconds."""

    switches: Switches
    now: Callable[[], datetime]
    client_id: str
    client_secret: str
    access_token: str
    refresh_token: str
    seed: int = 0
    user_id: int = 0
    _living: dict[str, datetime] = field(default_factory=dict)
    _refreshers: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    _calls: dict[str, deque[datetime]] = field(default_factory=dict)
    _rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Make the first pair of tokens valid."""
        self._rng.seed(self.seed)
        self._accept(self.access_token, self.refresh_token)

    def _accept(self, access: str, refresh: str) -> None:
        lifetime = timedelta(seconds=self.switches.token_lifetime_seconds)
        self._living[access] = self.now() + lifetime
        self._refreshers[refresh] = (access, None)
        self.access_token, self.refresh_token = access, refresh

    def bearer(self, request: Request) -> str:
        """Return the request's token, or the empty text."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def valid(self, token: str) -> bool:
        """Tell whether a token is known and has not expired."""
        expires = self._living.get(token)
        return expires is not None and self.now() < expires

    def expire(self) -> None:
        """Let every access token expire; the refresh token still works."""
        self._living = dict.fromkeys(self._living, self.now())

    def revoke(self) -> None:
        """Disconnect the application: no token works any more."""
        self._living.clear()
        self._refreshers.clear()

    def wait_seconds(self, token: str) -> float:
        """Count one call; return 0, or the seconds to wait where it is one too many."""
        now = self.now()
        window = timedelta(seconds=self.switches.rate_window_seconds)
        calls = self._calls.setdefault(token, deque())
        if self.switches.rate_window == "fixed":
            if calls and now >= calls[0] + window:
                calls.clear()
        else:
            while calls and now >= calls[0] + window:
                calls.popleft()
        if len(calls) < self.switches.rate_limit:
            calls.append(now)
            return 0
        return (calls[0] + window - now).total_seconds() if calls else window.total_seconds()

    # /grant

    def grant(self, request: Request) -> Answer:
        """Exchange a refresh token for a new pair of tokens."""
        form = request.form()
        known = (form.get("client_id"), form.get("client_secret"))
        if known != (self.client_id, self.client_secret):
            return oauth_error(400, "invalid_client", "The client credentials are invalid")
        if form.get("grant_type") == "refresh_token":
            return self._refresh(form, request)
        return oauth_error(400, "unsupported_grant_type", "The grant type is not supported")

    def _refresh(self, form: Mapping[str, str], request: Request) -> Answer:
        token = self.bearer(request)
        if self.switches.refresh_needs_authorization and not token:
            return oauth_error(400, "invalid_request", "The Authorization header is missing")
        if self.switches.refresh_needs_live_token and not self.valid(token):
            return oauth_error(401, "invalid_token", "The access token has expired")
        access, until = self._refreshers.get(form.get("refresh_token", ""), ("", None))
        if not access or (until is not None and self.now() >= until):
            status = self.switches.bad_refresh_status
            return oauth_error(status, "invalid_grant", "The refresh token is invalid")
        self._retire(form["refresh_token"], access)
        return self._issue()

    def _retire(self, refresh: str, access: str) -> None:
        until = self.now() + timedelta(seconds=self.switches.grant_grace)
        if access in self._living:
            self._living[access] = min(self._living[access], until)
        if self._refreshers[refresh][1] is None:
            self._refreshers[refresh] = (access, until)

    def _issue(self) -> Answer:
        self._accept(self._secret(), self._secret())
        return Answer.json(
            {
                "access_token": self.access_token,
                "expires_in": int(self.switches.token_lifetime_seconds),
                "token_type": "bearer",
                "scope": "",
                "refresh_token": self.refresh_token,
                "user_id": str(self.user_id),
                "company_id": "12345",
                "client_url": "sandbox",
            }
        )

    def _secret(self) -> str:
        return f"sandbox-{self._rng.getrandbits(128):032x}"


def oauth_error(status: int, error: str, description: str) -> Answer:
    """Return an error in OAuth's own shape."""
    document: dict[str, Any] = {"error": error, "error_description": description}
    return Answer.json(document, status)
