"""Log in and out."""

from __future__ import annotations

import logging
import time

from cprqueue.settings.web import Role, WebUser
from cprqueue.web import passwords
from cprqueue.web.board import MOST_LOGINS, Person
from cprqueue.web.page import Done, Page, is_own_path
from cprqueue.web.passwords import LONGEST
from cprqueue.web.problems import Problem

log = logging.getLogger(__name__)

WRONG = "The name or the password is not right."
BUSY_SECONDS = 5


class Login(Page):
    """The form for name and password."""

    template = "login.html"
    is_public = True

    async def get(self, *words: str) -> None:
        """Show the form; whoever is logged in goes on."""
        if self.person is not None:
            self.redirect("/")
            return
        self._show(next_path=self.query.text("next", "/", longest=1000))

    async def post(self, *words: str) -> None:
        """Check the password, and begin a session."""
        if self.board.is_open:
            raise Problem(404, "This board asks nobody for a password.")
        name, next_path = self.form.text("name"), self.form.text("next", "/", longest=1000)
        password = self._password()
        self._require_turn(name)
        user = await self._checked(name, password)
        if user is None:
            self.set_status(403)
            self._show(next_path=next_path, name=name, problem=WRONG)
            return
        self.board.throttle.take_back(self.visit.address, name, time.monotonic())
        self._begin(user, next_path)

    def _password(self) -> str:
        """Return it as it was typed: nothing is stripped from a password."""
        found = self.request.body_arguments.get("password", [b""])[0][: 4 * LONGEST + 1]
        return found.decode("utf-8", "replace")

    def _require_turn(self, name: str) -> None:
        wait = self.board.throttle.try_one(self.visit.address, name, time.monotonic())
        if wait:
            log.warning("log-in throttled", extra={"from": self.visit.address})
            minutes = max(1, round(wait / 60))
            text = f"Too many wrong passwords: wait {minutes} min, then try again."
            raise Problem(429, text, {"Retry-After": str(max(1, round(wait)))})
        if self.board.logins >= MOST_LOGINS:
            self.board.throttle.take_back(self.visit.address, name, time.monotonic())
            text = "Too many people log in at this moment: try again in some seconds."
            raise Problem(503, text, {"Retry-After": str(BUSY_SECONDS)})

    async def _checked(self, name: str, password: str) -> WebUser | None:
        """Return the user whose password it is; for an unknown name that takes as long."""
        user = self.board.users.get(name.casefold())
        known = user or self._stand_in(name)
        right = await self.board.in_login_thread(passwords.is_right, password, known.hash)
        if user is not None and right and len(password) <= LONGEST:
            return user
        log.warning("log-in refused", extra={"from": self.visit.address})
        return None

    def _stand_in(self, name: str) -> WebUser:
        """Choose a user whose hash is computed for a name that nobody has, always the same one."""
        users = list(self.board.users.values())
        return users[int(self.board.signer.sign("stand-in", name.casefold()), 16) % len(users)]

    def _begin(self, user: WebUser, next_path: str) -> None:
        session, cookie = self.board.sessions.begin(user, time.time())
        self.put_cookie("session", cookie, seconds=session.until - int(time.time()))
        self.person = Person(name=user.name, role=user.role, session=session.key)
        log.info("logged in", extra={"user": user.name, "from": self.visit.address})
        self.redirect(next_path if is_own_path(next_path) else "/", status=303)

    def _show(self, *, next_path: str, name: str = "", problem: str = "") -> None:
        shown = next_path if is_own_path(next_path) else "/"
        self.show(next=shown, name=name, problem=problem)


class Logout(Page):
    """The end of a session."""

    needs = Role.VIEWER
    is_public = True

    async def get(self, *words: str) -> None:
        """Refuse: a link must never do anything."""
        raise Problem(405, "Use the button Log out.", {"Allow": "POST"})

    async def post(self, *words: str) -> None:
        """End the session, here and for whoever has copied its cookie."""
        session = self.board.sessions.find(self.cookie("session"), time.time())
        if session is not None:
            self.board.sessions.end(session)
            log.info("logged out", extra={"user": session.user.name})
        self.drop_cookie("session")
        self.person = None
        self.go(Done(to="/login", text="You are logged out."))


ROUTES = [("/login", Login), ("/logout", Logout)]
NAVIGATION = None
