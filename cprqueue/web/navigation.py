"""How a page says where it is: its routes and its entry in the navigation."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import RequestHandler

Route = tuple[str, type[RequestHandler]]
"""A pattern of paths, whole, and who answers; its groups are the handler's ``words``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the navigation."""

    label: str
    path: str

    def is_here(self, path: str) -> bool:
        """Tell whether ``path`` is this page, or one below it."""
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))
