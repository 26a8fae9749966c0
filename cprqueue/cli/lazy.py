"""A group of commands whose modules are imported when they are called.

All of them with what they need (Celery, SQLAlchemy, requests) take most of a second of a
processor, and the help of the group needs nothing of it but a line for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from cprqueue.interrupts import importing

PACKAGE = "cprqueue.cli"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is not imported yet: where it is, and how the group's help shows it.

    ``help`` is the first paragraph of its docstring; ``place`` is ``module:attribute``.
    """

    place: str
    help: str
    panel: str | None = None
    hidden: bool = False

    def line(self, name: str) -> TyperCommand:
        """Return what stands for the command in the group's help."""
        return TyperCommand(
            name, help=self.help, hidden=self.hidden, rich_help_panel=self.panel, callback=None
        )

    def load(self, name: str) -> Any:
        """Import the command and return it."""
        module, _, attribute = self.place.partition(":")
        with importing():
            found = getattr(import_module(f"{PACKAGE}.{module}"), attribute)
        group = typer.Typer(add_completion=False, rich_markup_mode="rich")
        group.callback()(lambda: None)  # or else Typer makes a group of one the command itself
        if isinstance(found, typer.Typer):
            group.add_typer(found, name=name, rich_help_panel=self.panel)
        else:
            group.command(name, hidden=self.hidden, rich_help_panel=self.panel)(found)
        made: Any = typer.main.get_command(group)
        return made.commands[name]


class LazyGroup(TyperGroup):
    """Looks its commands up in ``known``, which whoever makes the group sets in a subclass."""

    known: ClassVar[Mapping[str, Command]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: command.line(name) for name, command in self.known.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that was named, and only that."""
        self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> None:
        """Put the command itself in the place of its line; do nothing where none has the name."""
        if name in self.known:
            self.commands[name] = self.known[name].load(name)
