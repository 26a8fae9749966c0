"""RestorationManager: login, the job list as a stream, one job.

There is no public documentation; what this knows was seen in programs that work. The answer
is not paged, so it is streamed to a file and read from there.
"""

from __future__ import annotations

import base64
import codecs
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cprqueue.clients.job_list import read_object
from cprqueue.clients.transport import Cures, Transport
from cprqueue.errors import AccessStopped, CprqueueError, Refused, UnreadableAnswer

T = TypeVar("T")

BEGINNING = datetime(2014, 12, 22, tzinfo=UTC)
"""ModifiedSince of a complete fetch: before the oldest job."""

CURES = Cures(
    access=": check RM_USERNAME, RM_PASSWORD and RM_API_SECRET",
    address=": check RM_BASE_URL and the network",
)

DOWNLOAD_SECONDS = 1800
CLOCKS_AGREE = timedelta(minutes=1)
LISTED = frozenset({200, 204})  # 204: nothing changed


class RestorationManager:
    """One login; the token is asked for when it is first needed, and again once it is not accepted.

    How an expired token is refused is not known: with 401 or 403, or with a page to sign in.
    """

    def __init__(self, transport: Transport, *, username: str, password: str, secret: str) -> None:
        self.transport = transport
        self._username = username
        self._password = password
        self._secret = secret
        self._token: str | None = None

    def login(self) -> None:
        """Get a token. Raises AccessStopped where name, password or secret are refused."""
        text = f"{{username: '{_quoted(self._username)}', password: '{_quoted(self._password)}'}}"
        basic = base64.b64encode(text.encode()).decode()
        reply = self.transport.request(
            "POST", "/api/login", headers={"Authorization": f"Basic {basic}"}
        )
        token = _token(reply.body)
        if not token:
            raise UnreadableAnswer(f"{reply.what} answered without a token: check RM_BASE_URL")
        self._token = token

    def download(
        self,
        path: Path,
        *,
        since: datetime,
        check: Callable[[Path], T],
        alive: Callable[[int], None] = lambda _bytes: None,
        total_seconds: float = DOWNLOAD_SECONDS,
    ) -> T:
        """Write the whole job list to ``path``; only an answer that passes ``check`` gets there.

        The file appears at once or not at all, dated when it was asked for: nothing in it is
        newer than that for sure. What ``check`` returns is passed on. ``alive`` is called with
        the bytes so far while the answer comes in, for ``total_seconds`` at most. Raises what
        ``check`` raises, and the errors of Transport.
        """
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            kept = self._token is not None
            try:
                self._download(part, since, alive, total_seconds)
                found = check(part)
            except (AccessStopped, UnreadableAnswer) as error:
                if not _may_have_expired(error, part, kept=kept):
                    raise
                self._token = None
                self._download(part, since, alive, total_seconds)
                found = check(part)
            part.replace(path)
            return found
        finally:
            part.unlink(missing_ok=True)

    def _download(
        self, part: Path, since: datetime, alive: Callable[[int], None], total_seconds: float
    ) -> None:
        headers = self._headers()  # a login tells RM's time
        stream = self.transport.stream(
            "/api/Jobs",
            params=_query(self._by_its_clock(since)),
            headers=headers,
            total_seconds=total_seconds,
            accept=LISTED,
            alive=lambda: alive(0),
        )
        asked_at = time.time()
        with stream as chunks, part.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                alive(file.tell())
            file.flush()
            os.fsync(file.fileno())
        os.utime(part, (asked_at, asked_at))

    def _by_its_clock(self, since: datetime) -> datetime:
        """Return ``since`` as early as RM has to hear it: this machine may be days ahead of it."""
        behind = -(self.transport.ahead or timedelta(0))
        return max(since - behind, BEGINNING) if behind > CLOCKS_AGREE else since

    def probe(self, *, since: datetime) -> None:
        """Open the job list and read no more than its beginning: login and secret are right.

        Raises the errors of Transport, and UnreadableAnswer where it does not begin like JSON.
        """
        stream = self.transport.stream(
            "/api/Jobs",
            params=_query(since),
            headers=self._headers(),
            total_seconds=60,
            accept=LISTED,
        )
        with stream as chunks:
            first = next(chunks, b"").removeprefix(codecs.BOM_UTF8).lstrip()
        if first[:1] not in (b"[", b"{", b"") and first.strip() != b"null":
            raise UnreadableAnswer("RestorationManager: GET /api/Jobs answered no JSON")

    def get_job(self, job_id: int) -> Any:
        """Return one job as RM sends it.

        Returns None where RM knows no such job *or* offers no single jobs (404 or 405 both
        ways): the caller falls back to the complete list. Raises the errors of Transport.
        """
        with suppress(AccessStopped, UnreadableAnswer):
            return self._get_job(job_id)
        self._token = None
        return self._get_job(job_id)

    def _get_job(self, job_id: int) -> Any:
        try:
            reply = self.transport.request("GET", f"/api/Jobs/{job_id}", headers=self._headers())
        except Refused as error:
            if error.status in (404, 405):
                return None
            raise
        try:
            found = read_object(reply.body)
        except UnreadableAnswer as error:
            raise UnreadableAnswer(f"{reply.what} answered a job that is {error}") from None
        if isinstance(found, list):
            found = found[0] if len(found) == 1 else None
        if isinstance(found, dict) and any(str(name).casefold() == "jobid" for name in found):
            return found
        return None

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            self.login()
        return {"Token": self._token or "", "ApiSecret": self._secret}


def _may_have_expired(error: CprqueueError, part: Path, *, kept: bool) -> bool:
    """Tell whether a new login may help; ``kept``: the token is from an earlier request."""
    if isinstance(error, AccessStopped):
        return kept or error.status == 401
    return kept and part.exists() and _is_page(part)


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(100).lstrip().startswith(b"<")


def _query(since: datetime) -> dict[str, str]:
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"includeRelatedData": "false", "ModifiedSince": moment}


def _quoted(text: str) -> str:
    # The login text is a JavaScript object literal with single-quoted strings.
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _token(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    with suppress(ValueError, RecursionError):
        parsed = json.loads(text)
        text = parsed.strip() if isinstance(parsed, str) else ""
    return "" if any(c.isspace() or c in "<>{}" for c in text) else text
