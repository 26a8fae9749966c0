"""What nobody outside has established about RestorationManager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cprqueue.sandbox.switches import SwitchSet

MODIFIED = "jobModifiedDate"


@dataclass(slots=True, kw_only=True)
class RmSwitches(SwitchSet):
    """A field for each guess; set it either way. The first value of each is the default."""

    wrapping: Literal["none", "results", "jobs", "value", "$values"] = "none"
    nothing: Literal["list", "204", "null", "empty"] = "list"  # what stands for no jobs
    token_seconds: float = 1200.0
    denied: Literal["401", "403", "html200"] = "401"
    login_denied: Literal["401", "403", "html200"] = "401"
    single_job: Literal["ok", "404", "405"] = "ok"
    modified_field: str = MODIFIED  # empty: the field is left out
    modified_format: Literal["z", "naive", "seconds", "offset"] = "z"
    casing: Literal["seen", "lower", "upper", "pascal", "camel"] = "seen"
    numbers_as_strings: bool = False
    zip_as_int: bool = False
    numbers_as_floats: bool = False
    not_a_number: bool = False  # a field that is not used holds NaN
    trailing_spaces: bool = False
    html_entities: bool = False  # in addresses
    encoding: Literal["utf-8", "windows-1252"] = "utf-8"
    raw_controls: bool = False  # TAB, newline and the like stand in strings as they are
    unreadable_job: int = 0  # this job has a field that is nested too deeply to be read ...
    unreadable_first: bool = False  # ... and it comes before all others
    byte_order_mark: bool = False
    since_inclusive: bool = True
    since_honoured: bool = True
    paths_ignore_case: bool = True
    names_ignore_case: bool = True
    drip_seconds: float = 0.0  # the job list's body is spread over this long
