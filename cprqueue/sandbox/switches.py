"""What the switches of both services have in common: typed fields that are set by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class SwitchSet:
    """Base of a dataclass whose fields are switches."""

    __slots__ = ()

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set switches by name: all of them, or none.

        Raises ValueError, with one line for a person, for an unknown name or a value of the
        wrong type.
        """
        hints = get_type_hints(type(self))
        for name, value in changes.items():
            if name not in hints:
                raise ValueError(f"there is no switch {name!r}; known: {', '.join(hints)}")
            if not _fits(value, hints[name]):
                raise ValueError(f"switch {name!r} takes {_words(hints[name])}, not {value!r}")
        for name, value in changes.items():
            setattr(self, name, value)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) in (UnionType, Union):
        return any(_fits(value, each) for each in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_words(each) for each in get_args(hint))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, "null")
