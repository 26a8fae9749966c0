"""HTTP: one session for each service, time limits, and the one place where an answer becomes
a value or an error.

Error texts name the service, the method and the path. They never hold a query, a header or a
body: those may carry secrets or addresses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, LocationValueError, ReadTimeoutError

from cprqueue.boot_clock import boot_seconds
from cprqueue.clients.time_limit import Limit, LimitedAdapter, limited
from cprqueue.clients.unreachable import reason
from cprqueue.config import authorities
from cprqueue.domain.mapping import read_text
from cprqueue.domain.models import Json
from cprqueue.errors import (
    AccessStopped,
    RateLimited,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    UnreadableAnswer,
)
from cprqueue.settings.values import is_loopback

CONNECT_SECONDS = 5
READ_SECONDS = 30
LIST_SECONDS = 300
"""How long the beginning of an answer of any size may take: it is made whole before it is sent."""

PIECE = 64 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is kept in memory; those that are documented have some hundred kilobytes."""

Query: TypeAlias = Mapping[str, str | int]
STOPPING = frozenset({401, 402, 403, 499})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cures:
    """What an error's text ends with: nobody is let in, nothing answers at the address."""

    access: str = ""
    address: str = ""


NO_CURES = Cures()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer with a status that its caller may use."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    what: str

    def json(self) -> Json:
        """Return the body as JSON. Raises UnreadableAnswer where it is something else."""
        try:
            found: Json = json.loads(self.body)
            return found
        except (ValueError, RecursionError):
            size = len(self.body)
            raise UnreadableAnswer(
                f"{self.what} answered {self.status} with {size} bytes that are not JSON"
            ) from None


class Transport:
    """Requests to one service under one base URL.

    ``total_seconds`` limits one whole request, also a slow drip. Redirects are not followed:
    they would carry the token to wherever they point.
    """

    def __init__(
        self, service: str, base_url: str, *, total_seconds: float = 45, cures: Cures = NO_CURES
    ) -> None:
        self.service = service
        self.cures = cures
        self.base_url = base_url.rstrip("/")
        self.total_seconds = total_seconds
        self.ahead: timedelta | None = None
        """How far the service's clock is ahead of ours, by the Date of its last answer."""
        self._answered_at = 0.0
        self._date: datetime | None = None
        self.session = _Session()
        self.session.trust_env = False  # a .netrc would take the place of our credentials
        self.session.verify = authorities() or True
        self.session.proxies = proxies(self.base_url)
        adapter = LimitedAdapter(pool_connections=2, pool_maxsize=4, max_retries=0)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)

    @property
    def time(self) -> datetime | None:
        """The time by the service's clock; None where it has not told it yet."""
        passed = timedelta(seconds=boot_seconds() - self._answered_at)
        return self._date + passed if self._date else None

    def close(self) -> None:
        """Close all connections."""
        self.session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        json_body: Json = None,
        form: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset({200}),
    ) -> Reply:
        """Send one request and return its complete answer.

        Statuses outside ``accept`` are raised as errors, see ``error_for``. Raises
        ServiceUnreachable where no complete answer came; the request may have had its effect.
        """
        what = f"{self.service}: {method} {path}"
        with (
            limited(self.total_seconds, READ_SECONDS) as limit,
            self._open(limit, what, method, path, params, headers, json_body, form) as response,
        ):
            reply = _reply(response, what, limit)
        if reply.status not in accept:
            raise error_for(reply, self.cures)
        return reply

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Query,
        headers: Mapping[str, str],
        total_seconds: float,
        accept: frozenset[int] = frozenset({200}),
        alive: Callable[[], None] = lambda: None,
    ) -> Iterator[Iterator[bytes]]:
        """Open a GET whose body is read in pieces; for answers of any size.

        ``alive`` is called every few seconds while nothing comes; the beginning may take longer
        than that of any other request.
        """
        what = f"{self.service}: GET {path}"
        with (
            limited(total_seconds, min(LIST_SECONDS, total_seconds), alive) as limit,
            self._open(limit, what, "GET", path, params, headers) as response,
        ):
            limit.idle_seconds = READ_SECONDS
            if response.status_code not in accept:
                raise error_for(_reply(response, what, limit), self.cures)
            yield _chunks(response, what, limit)

    @contextmanager
    def _open(
        self,
        limit: Limit,
        what: str,
        method: str,
        path: str,
        params: Query | None,
        headers: Mapping[str, str] | None,
        json_body: Json = None,
        form: Mapping[str, str] | None = None,
    ) -> Iterator[requests.Response]:
        try:
            response = self.session.request(
                method,
                self.base_url + path,
                timeout=(CONNECT_SECONDS, limit.idle_seconds),
                allow_redirects=False,
                stream=True,
                params=params,
                headers=headers,
                json=json_body,
                data=form,
            )
        except (requests.RequestException, LocationValueError) as error:
            seconds = limit.seconds if limit.is_over else limit.idle_seconds
            plain = reason(error, seconds, CONNECT_SECONDS)
            raise ServiceUnreachable(f"{what}: {plain}{self.cures.address}") from None
        with response:
            self._date, self._answered_at = _date(response.headers.get("Date")), boot_seconds()
            self.ahead = self._date - datetime.now(UTC) if self._date else None
            yield response


def proxies(url: str) -> dict[str, str]:
    """Return the proxies for ``url`` by the usual variables; none for this very machine."""
    if is_loopback(urlsplit(url).hostname or ""):
        return {}
    return dict(get_environ_proxies(url))


def _date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Look at no redirect: requests reads the whole body of one, without any limit."""


def _reply(response: requests.Response, what: str, limit: Limit) -> Reply:
    body = bytearray()
    for chunk in _chunks(response, what, limit):
        body += chunk
        if len(body) > MOST_BYTES:
            size = MOST_BYTES // 1024 // 1024
            raise UnreadableAnswer(f"{what} answered with more than {size} MB")
    headers = response.headers
    return Reply(status=response.status_code, body=bytes(body), headers=headers, what=what)


def _chunks(response: requests.Response, what: str, limit: Limit) -> Iterator[bytes]:
    try:
        # Not iter_content: it waits for a full piece, however slowly that comes.
        while chunk := response.raw.read1(PIECE, decode_content=True):
            yield chunk
    except ReadTimeoutError:
        text = f"the answer stopped in the middle for {READ_SECONDS} s"
        if limit.is_over:
            text = f"no complete answer in {limit.seconds:.0f} s"
        raise ServiceUnreachable(f"{what}: {text}") from None
    except (HTTPError, OSError):
        raise ServiceUnreachable(f"{what}: the answer was cut short (connection closed)") from None


def error_for(reply: Reply, cures: Cures = NO_CURES) -> Exception:
    """Return the error for a status: total over all of them, and the only place that decides."""
    text = f"{reply.what} answered {reply.status}{_own_words(reply)}"
    if reply.status in STOPPING:
        return AccessStopped(text + cures.access, reply.status)
    if reply.status == 429:
        return RateLimited(text, _retry_after(reply))
    if reply.status >= 500:
        return ServiceFailed(text)
    return Refused(text, reply.status)


def _own_words(reply: Reply) -> str:
    """Return the service's own words, in either of the shapes that QuickBooks Time uses."""
    try:
        data = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(data, dict):
        return ""
    error = data.get("error", data.get("Message", ""))
    if isinstance(error, dict):
        error = error.get("message", "")
    words = read_text(f"{error or ''} {data.get('error_description') or ''}")
    return f": {words[:200]}" if words else ""


def _retry_after(reply: Reply) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
