"""What nobody outside has established about RestorationManager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints
from typing import Literal as OneOf

MODIFIED = "jobModifiedDate"


@dataclass(slots=True, kw_only=True)
class RmSwitches:
    """A field for each guess; set it either way. The first value of each is the default."""

    wrapping: OneOf["none", "results", "jobs", "value", "$values"] = "none"
    nothing: OneOf["list", "204", "null", "empty"] = "list"  # what stands for no jobs
    token_seconds: float = 1200.0
    denied: OneOf["401", "403", "html200"] = "401"
    login_denied: OneOf["401", "403", "html200"] = "401"
    single_job: OneOf["ok", "404", "405"] = "ok"
    modified_field: str = MODIFIED  # empty: the field is left out
    modified_format: OneOf["z", "naive", "seconds", "offset"] = "z"
    casing: OneOf["seen", "lower", "upper", "pascal", "camel"] = "seen"
    numbers_as_strings: bool = False
    zip_as_int: bool = False
    numbers_as_floats: bool = False
    not_a_number: bool = False  # a field that is not used holds NaN
    trailing_spaces: bool = False
    html_entities: bool = False  # in addresses
    encoding: OneOf["utf-8", "windows-1252"] = "utf-8"
    raw_controls: bool = False  # TAB, newline and the like stand in strings as they are
    unreadable_job: int = 0  # this job has a field that is nested too deeply to be read ...
    unreadable_first: bool = False  # ... and it comes before all others
    byte_order_mark: bool = False
    since_inclusive: bool = True
    since_honoured: bool = True
    paths_ignore_case: bool = True
    names_ignore_case: bool = True
    drip_seconds: float = 0.0  # the job list's body is spread over this long

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set several switches, or none: ValueError names what is unknown or does not fit."""
        hints = get_type_hints(type(self))
        checked = {name: _checked(hints, name, value) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)


def _checked(hints: Mapping[str, Any], name: str, value: Any) -> Any:
    if name not in hints:
        raise ValueError(f"unknown RestorationManager switch {name!r}; known: {', '.join(hints)}")
    hint = hints[name]
    if choices := get_args(hint):
        if str(value) not in choices:
            raise ValueError(f"switch {name!r} must be one of {', '.join(choices)}, not {value!r}")
        return str(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"switch {name!r} must be a {hint.__name__}, not {value!r}")
    return value
