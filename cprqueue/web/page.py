"""The base of every page and of every act; ``cprqueue.web`` says how to write one."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from cprqueue.settings.web import Role
from cprqueue.web import problems, wire
from cprqueue.web.answer import Answer
from cprqueue.web.board import ANYBODY, Person
from cprqueue.web.problems import Problem
from cprqueue.web.query import Query

log = logging.getLogger(__name__)

TOKEN = "token"  # noqa: S105  (a field's name)
TOLD_LONGEST = 500
TOLD_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an act came to: the page to go on to, and what to say there."""

    to: str
    text: str


class Page(Answer):
    """A page for whoever is logged in. Override ``read``; name the ``template``."""

    template: ClassVar[str]
    needs: ClassVar[Role] = Role.VIEWER
    is_public: ClassVar[bool] = False
    as_json: ClassVar[bool] = False

    query: Query
    form: Query

    async def prepare(self) -> None:
        """Find out who asks, and whether that person may."""
        await super().prepare()
        self.query = Query(self.request.query_arguments)
        self.form = Query(self.request.body_arguments)
        self.person = self._person()
        if self.request.method not in ("GET", "HEAD"):
            self._require_own_form()
        if self.person is None and not self.is_public:
            self._ask_to_log_in()
        elif self.needs is Role.OPERATOR and not (self.person and self.person.may_act):
            raise Problem(403, "Your role is viewer: only an operator may do this.")

    async def get(self, *words: str) -> None:
        """Show the page."""
        self.show(**await self.in_thread(self.read, *words))

    def read(self, *words: str) -> Mapping[str, object]:
        """Return what the template, or the JSON document, needs; runs in a thread.

        ``words`` are the groups of the route. ``self.query`` has the parameters.
        """
        raise NotImplementedError

    async def in_thread(self, work: Any, *words: Any) -> Any:
        """Run ``work`` in a thread; an error of ours becomes its page."""
        try:
            return await self.board.in_thread(work, *words)
        except Exception as error:
            found = problems.translated(error)
            if found is None:
                raise
            raise found from error

    def show(self, **values: object) -> None:
        """Answer with the template, or with JSON."""
        if self.as_json:
            self.finish(dict(values))
        else:
            told = {"told": self._take_told()} if "told" not in values else {}
            self.finish(self.render_string(self.template, **told, **values))

    def finish_error(self, status: int, title: str, text: str) -> None:
        """Answer in the form that was asked for."""
        if self.as_json:
            self.finish({"error": text, "status": status})
        else:
            super().finish_error(status, title, text)

    # --- who asks ---

    def cookie_name(self, what: str) -> str:
        """Return a cookie's name. Browsers send cookies to every port: each board has its own."""
        prefix = "__Host-" if self.visit.secure else ""
        return f"{prefix}cpr-{what}-{self.settings['port']}"

    def put_cookie(self, what: str, text: str, *, seconds: int | None = None) -> None:
        """Set a cookie that no script reads, and no other site's page sends."""
        self.set_cookie(
            self.cookie_name(what),
            text,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self.visit.secure,
            max_age=seconds,
        )

    def cookie(self, what: str) -> str:
        """Return a cookie's text, or ""."""
        found = self.request.cookies.get(self.cookie_name(what))
        return found.value if found is not None else ""

    def drop_cookie(self, what: str) -> None:
        """Remove a cookie."""
        self.put_cookie(what, "", seconds=0)

    def _person(self) -> Person | None:
        if self.board.is_open:
            return ANYBODY
        session = self.board.sessions.find(self.cookie("session"), time.time())
        if session is None:
            return None
        return Person(name=session.user.name, role=session.user.role, session=session.key)

    def _ask_to_log_in(self) -> None:
        if self.as_json:
            raise Problem(401, "Log in again.")
        if self.request.method != "GET":
            raise Problem(403, "You are not logged in any more: log in, and do it again.")
        uri = self.request.uri or "/"
        if self.request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A browser sends our cookies with none of another site's links: once more, from here.
            self.finish(self.render_string("crossing.html", to=uri if is_own_path(uri) else "/"))
            return
        self.redirect("/login" if self.request.path == "/" else _login_for(uri))

    # --- forms ---

    def token(self) -> str:
        """Return what every form of this visitor carries, so that no other site can make one."""
        return self.board.signer.sign("form", self._visitor(), self._session_key())

    def _session_key(self) -> str:
        return self.person.session if self.person else ""

    def _visitor(self) -> str:
        """Return this browser's random name, which it gets with its first form."""
        found = self.cookie("visitor")
        if len(found) == 32 and found.isalnum():
            return found
        made: str = getattr(self, "_made_visitor", "") or secrets.token_hex(16)
        self._made_visitor = made
        self.put_cookie("visitor", made)
        return made

    def _require_own_form(self) -> None:
        if wire.comes_from_elsewhere(self.request.headers, self.visit.origin):
            raise Problem(403, "This came from another site's page: nothing was done.")
        visitor, given = self.cookie("visitor"), self.form.text(TOKEN)
        if not visitor or not self.board.signer.is_right(
            given, "form", visitor, self._session_key()
        ):
            raise Problem(403, "This form is too old: go back, load the page again, and repeat it.")

    # --- what is said on the next page ---

    def go(self, done: Done) -> None:
        """Go on to another page, and say there what was done."""
        text = done.text[:TOLD_LONGEST]
        data = base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()
        signature = self.board.signer.sign("told", data, self._session_key())
        self.put_cookie("told", f"{data}.{signature}", seconds=TOLD_SECONDS)
        self.set_header("Location", done.to)
        self.set_status(303)
        self.finish()

    def _take_told(self) -> str:
        data, _, signature = self.cookie("told").partition(".")
        if not data:
            return ""
        self.drop_cookie("told")
        if not self.board.signer.is_right(signature, "told", data, self._session_key()):
            return ""
        try:
            return base64.urlsafe_b64decode(data).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return ""


class Act(Page):
    """What an operator orders by a button: a POST. Override ``act``."""

    needs = Role.OPERATOR

    async def get(self, *words: str) -> None:
        """Refuse: a link must never do anything."""
        raise Problem(405, "This address takes orders from a button alone.", {"Allow": "POST"})

    async def post(self, *words: str) -> None:
        """Do it, and go on to the page that shows it."""
        self.go(await self.in_thread(self.act, *words))

    def act(self, *words: str) -> Done:
        """Do what was ordered; runs in a thread. ``self.form`` has the fields.

        Errors of ours (``cprqueue.errors``) become pages: raise UsageError for what makes no
        sense. ``self.by`` is who orders it.
        """
        raise NotImplementedError

    @property
    def by(self) -> str:
        """The name of the operator, for the history of the job."""
        return self.person.name if self.person else ""


class NotFound(Page):
    """Whatever else is asked for."""

    is_public = True

    async def prepare(self) -> None:
        """Say that there is no such page; whoever is not logged in learns no more than that."""
        await Answer.prepare(self)
        self.person = self._person()
        raise Problem(404, problems.WORDS[404])


def _login_for(uri: str) -> str:
    return "/login?" + urlencode({"next": uri[:1000]}, quote_via=quote)


def is_own_path(text: str) -> bool:
    """Tell whether a text is an address within the board, and cannot be read as another site's."""
    plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    return plain and text.startswith("/") and not text.startswith("//")
