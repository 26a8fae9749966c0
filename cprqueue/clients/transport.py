"""HTTP: one session for each service, time limits, and the one place where an answer becomes
a value or an error.

Error texts name the service, the method and the path. They never hold a query, a header or a
body: those may carry secrets or addresses.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, ReadTimeoutError

from cprqueue.boot_clock import boot_seconds
from cprqueue.config import authorities
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
PIECE = 64 * 1024
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
        self.session = requests.Session()
        self.session.trust_env = False  # a .netrc would take the place of our credentials
        self.session.verify = authorities() or True
        self.session.proxies = proxies(self.base_url)
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=4, max_retries=0)
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
        with self._open(what, method, path, params, headers, json_body, form) as response:
            reply = self._reply(response, what)
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
    ) -> Iterator[Iterator[bytes]]:
        """Open a GET whose body is read in pieces; for answers of any size."""
        what = f"{self.service}: GET {path}"
        with self._open(what, "GET", path, params, headers) as response:
            if response.status_code not in accept:
                raise error_for(self._reply(response, what), self.cures)
            yield _chunks(response, what, total_seconds)

    def _reply(self, response: requests.Response, what: str) -> Reply:
        body = b"".join(_chunks(response, what, self.total_seconds))
        return Reply(status=response.status_code, body=body, headers=response.headers, what=what)

    @contextmanager
    def _open(
        self,
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
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
                params=params,
                headers=headers,
                json=json_body,
                data=form,
            )
        except requests.RequestException as error:
            raise ServiceUnreachable(f"{what}: {_plain(error)}{self.cures.address}") from None
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
    except ValueError:
        return None


def _chunks(response: requests.Response, what: str, total_seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + total_seconds
    try:
        # Not iter_content: it waits for a full piece, and so lets a slow drip go on for ever.
        while chunk := response.raw.read1(PIECE, decode_content=True):
            yield chunk
            if time.monotonic() > deadline:
                raise ServiceUnreachable(f"{what}: no complete answer in {total_seconds:.0f} s")
    except ReadTimeoutError:
        text = f"{what}: the answer stopped in the middle for {READ_SECONDS} s"
        raise ServiceUnreachable(text) from None
    except (HTTPError, OSError):
        raise ServiceUnreachable(f"{what}: the answer was cut short (connection closed)") from None


def _plain(error: requests.RequestException) -> str:
    """Say what happened; the exception's own text may hold the URL with its query."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {READ_SECONDS} s"
    if isinstance(error, requests.exceptions.SSLError):
        return _insecure(str(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy (HTTPS_PROXY) is not there, or refuses to connect us"
    if isinstance(error, requests.ConnectionError):
        return "connection refused, closed or name not found"
    return type(error).__name__


def _insecure(text: str) -> str:
    if "self-signed" in text or "self signed" in text or "local issuer" in text:
        return (
            "its certificate is signed by an authority that is not known here: name the file "
            "of your company's authority in REQUESTS_CA_BUNDLE"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = re.search(r"verify failed: ([^(]*[^( ])", text)  # Python 3.13 has more of them
        shown = f" ({reason[1]})" if reason else ""
        return f"its certificate is not valid for this host, or not now{shown}"
    return "the secure connection failed (certificate?)"


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
    words = " ".join(f"{error or ''} {data.get('error_description') or ''}".split())
    return f": {words[:200]}" if words else ""


def _retry_after(reply: Reply) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
