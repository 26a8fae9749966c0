"""What every answer of the board has, pages and files: its headers, our names alone, errors."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from cprqueue.bootstrap import Application
from cprqueue.web import problems, wire
from cprqueue.web.board import Board, Person
from cprqueue.web.problems import Problem

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Answer(RequestHandler):
    """What every answer of the board has: its headers, our names alone, errors as pages."""

    visit: wire.Visit
    person: Person | None = None

    @property
    def board(self) -> Board:
        """The board that this belongs to."""
        found: Board = self.settings["board"]
        return found

    @property
    def app(self) -> Application:
        """The application: its parts and its settings."""
        return self.board.app

    def set_default_headers(self) -> None:
        """Set what every answer has; errors too."""
        for name, text in HEADERS.items():
            self.set_header(name, text)
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    async def prepare(self) -> None:
        """Refuse a request that came under a name that is not ours."""
        if not wire.host_is_ours(self.request.host, self.board.place):
            raise Problem(
                403, "The board is not known by this name: set CPR_WEB_URL to its address."
            )
        self.visit = wire.visit(
            self.request.remote_ip or "", self.request.host, self.request.headers, self.board.place
        )

    def compute_etag(self) -> str | None:
        """No page is kept, so none has a tag."""
        return None

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer with a page, or with JSON where JSON was asked for."""
        found = details.get("exc_info", (None, None, None))[1]
        for name, value in found.headers.items() if isinstance(found, Problem) else ():
            self.set_header(name, value)
        title, text = problems.title(status_code), problems.text(found, status_code)
        self.finish_error(status_code, title, text)

    def finish_error(self, status: int, title: str, text: str) -> None:
        """Write the page of an error."""
        self.finish(self.render_string("error.html", title=title, text=text, status=status))

    def get_template_namespace(self) -> dict[str, Any]:
        """Add what the base template needs."""
        base = super().get_template_namespace()
        return {
            **base,
            "person": self.person,
            "may_act": self.person is not None and self.person.may_act,
            "is_open": self.board.is_open,
            "navigation": self.settings["navigation"],
            "here": self.request.path,
            "told": "",
            "live": "",
            "timezone": self.app.settings.timezone,
        }

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log a fault of ours; what a visitor did wrong is on the page that he got."""
        if not isinstance(value, HTTPError):
            log.error(
                "a page failed",
                extra={"page": type(self).__name__, "method": self.request.method},
                exc_info=(typ, value, tb) if typ and value else None,
            )


class Assets(Answer, StaticFileHandler):
    """Our style sheet, script and icon: the same for everybody, and kept by browsers."""

    def set_extra_headers(self, path: str) -> None:
        """Let a browser keep what is asked for by its version."""
        kept = "max-age=31536000, immutable" if self.get_query_argument("v", "") else "no-cache"
        self.set_header("Cache-Control", kept)
