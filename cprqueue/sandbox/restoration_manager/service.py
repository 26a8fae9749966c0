"""The service: an account, its logins, its jobs."""

from __future__ import annotations

import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from cprqueue.sandbox import credentials
from cprqueue.sandbox.restoration_manager import login, shape
from cprqueue.sandbox.restoration_manager.shape import JOB_FIELDS, Job
from cprqueue.sandbox.restoration_manager.switches import MODIFIED, RmSwitches
from cprqueue.sandbox.wire import Answer, Request

LOGIN, TOKEN, LISTS, JOBS = "/api/login", "/api/Login/decryptedtoken", "/api/Lists", "/api/Jobs"
NOT_FOUND = "No HTTP resource was found that matches the request URI."
LOGIN_PAGE = b"<!DOCTYPE html><html><body><form>Please sign in</form></body></html>"


class RestorationManager:
    """An account with its jobs. Safe to use from several threads."""

    def __init__(
        self,
        *,
        jobs: Iterable[Job] = (),
        switches: RmSwitches | None = None,
        username: str = credentials.RM_USERNAME,
        password: str = credentials.RM_PASSWORD,
        api_secret: str = credentials.RM_API_SECRET,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.switches = switches or RmSwitches()
        self._login = {"username": username, "password": password}
        self._api_secret = api_secret
        self._clock = clock
        self._ahead_seconds = 0.0
        self._tokens: dict[str, float] = {}
        self._lock = threading.RLock()
        self._jobs: dict[int, Job] = {}
        for job in jobs:
            self._put(job, job.get(MODIFIED))

    # -- by hand -------------------------------------------------------------------------

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        """Create jobs, or change the given fields of known ones, by ``jobId``; modified now.

        A field that a new job does not have is null.
        """
        with self._lock:
            for job in jobs:
                self._put(job, None)

    def delete_jobs(self, ids: Iterable[int]) -> None:
        """Let jobs vanish, as if they had never been; unknown ids are ignored."""
        with self._lock:
            for job_id in ids:
                self._jobs.pop(int(job_id), None)

    def jobs(self) -> list[Job]:
        """Return a copy of every job, under the names of ``JOB_FIELDS``."""
        with self._lock:
            return [dict(job) for job in self._jobs.values()]

    def advance(self, seconds: float) -> None:
        """Move this service's clock."""
        self._ahead_seconds += seconds

    def expire_tokens(self) -> None:
        """End every login there is."""
        with self._lock:
            self._tokens.clear()

    def _put(self, job: Job, modified: str | None) -> None:
        job_id = job.get("jobId")
        if type(job_id) is not int:
            raise ValueError(f"a job needs a jobId that is a number, not {job_id!r}")
        # A new dict each time: a list being streamed keeps the one it began with.
        known = self._jobs.get(job_id) or dict.fromkeys(JOB_FIELDS)
        when = shape.instant(modified) if modified else self._now()
        self._jobs[job_id] = {**known, **job, MODIFIED: shape.stamp(when)}

    def now(self) -> datetime:
        """Return the time by this service's clock."""
        return self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() + self._ahead_seconds, UTC)

    # -- HTTP ----------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Answer one request; its path is relative to the host."""
        route, number = self._route(request.path)
        if route is None:
            return _message(404, NOT_FOUND)
        allowed = "POST" if route == LOGIN else "GET"
        if request.method != allowed or (number and self.switches.single_job == "405"):
            return _message(405, f"The requested resource does not support '{request.method}'.")
        if route == LOGIN:
            return self._log_in(request)
        if not self._admits(request):
            return _denied(self.switches.denied)
        try:
            return self._answer(route, number, request)
        except ValueError:
            return _message(400, "The request is invalid.")

    def _route(self, path: str) -> tuple[str | None, str]:
        path = path.rstrip("/")
        for route in (LOGIN, TOKEN, LISTS, JOBS):
            if _same(path, route, self.switches):
                return route, ""
        head, _, number = path.rpartition("/")
        return (JOBS, number) if _same(head, JOBS, self.switches) else (None, "")

    def _answer(self, route: str, number: str, request: Request) -> Answer:
        if number:
            return self._single(int(number))
        if route == TOKEN:
            return self._token(request)
        jobs = self._modified_since(shape.since(request.query, self.switches))
        if route == LISTS:
            return Answer.json(shape.lists(jobs))
        return shape.job_list(jobs, replace(self.switches))

    def _log_in(self, request: Request) -> Answer:
        try:
            login_fields = login.parse(request.headers.get("authorization", ""))
        except ValueError as error:
            return _message(400, str(error))
        if login_fields != self._login:
            return _denied(self.switches.login_denied)
        token = b64encode(secrets.token_bytes(48)).decode()
        with self._lock:
            self._tokens[token] = self._now().timestamp() + self.switches.token_seconds
        return Answer.json(token)

    def _admits(self, request: Request) -> bool:
        expires = self._tokens.get(request.headers.get("token", ""), 0.0)
        secret = request.headers.get("apisecret", "")
        return secret == self._api_secret and self._now().timestamp() < expires

    def _token(self, request: Request) -> Answer:
        expires = datetime.fromtimestamp(self._tokens[request.headers["token"]], UTC)
        return Answer.json({"username": self._login["username"], "expires": shape.stamp(expires)})

    def _single(self, number: int) -> Answer:
        job = self._jobs.get(number)
        if job is None or self.switches.single_job == "404":
            return _message(404, NOT_FOUND)
        text = shape.written(shape.present(job, self.switches), self.switches)
        return Answer(
            body=text.encode(self.switches.encoding, "replace"), headers=shape.JSON_HEADERS
        )

    def _modified_since(self, since: str) -> list[Job]:
        with self._lock:
            jobs = list(self._jobs.values())
        if not since or not self.switches.since_honoured:
            return jobs
        edge = self.switches.since_inclusive
        return [job for job in jobs if job[MODIFIED] > since or (edge and job[MODIFIED] == since)]


def _same(path: str, route: str, switches: RmSwitches) -> bool:
    return path == route or (switches.paths_ignore_case and path.lower() == route.lower())


def _message(status: int, text: str) -> Answer:
    return Answer.json({"Message": text}, status=status)


def _denied(how: str) -> Answer:
    if how == "html200":
        return Answer(body=LOGIN_PAGE, headers={"Content-Type": "text/html; charset=utf-8"})
    return _message(int(how), "Authorization has been denied for this request.")
