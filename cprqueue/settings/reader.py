"""Read one variable after another, from the environment or from a secret's file; find mistypes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cprqueue.settings import small_file

PREFIXES = ("RM_", "QBT_", "CPR_", "PRUNE_", "PUSH_", "ALERT_")
OURS_ALIKE = 0.7  # QBT_TOKEN is QBT_ACCESS_TOKEN; CPR_HOME is not CPR_TIMEZONE
ALIKE = 0.85  # RMSITE_IDS is RM_SITE_IDS; TEST_DATABASE_URL belongs to another program
MAX_SECRET_BYTES = 64 * 1024


class SettingReader:
    """Reads the fields of Settings and collects in ``problems`` what is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def get(self, declared: Field[Any]) -> Any:
        """Return the field's value; its default where the variable is blank, or wrong."""
        default, name = declared.default, declared.metadata["name"]
        if isinstance(default, Path):
            default = default.absolute()
        try:
            text = self._text(name, may_be_file=not declared.repr)
            _require_text(text or str(default))
            return declared.metadata["read"](text) if text else default
        except ValueError as error:
            self.problems.append(f"{name} {error}")
            return default

    def _text(self, name: str, *, may_be_file: bool) -> str:
        text = self.environ.get(name, "").strip()
        path = self.environ.get(f"{name}_FILE", "").strip() if may_be_file else ""
        if text and path:
            raise ValueError(f"and {name}_FILE are both set: leave one of them empty")
        return _secret_in(path) if path else text


def _require_text(text: str) -> None:
    """Refuse bytes that are no text, as an old system's umlaut in a directory's name."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # The text may be a secret, so the message never shows it.
        encoding = sys.getfilesystemencoding()
        raise ValueError(
            f"holds bytes that are no text in {encoding}: choose another value or place"
        )


def _secret_in(path: str) -> str:
    place = f"cannot be read from the file that its _FILE names, {path}:"
    try:
        raw = small_file.read(Path(path).expanduser(), MAX_SECRET_BYTES)
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{place} it is no UTF-8") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{place} {getattr(error, 'strerror', None) or error}") from None
    if not text:
        raise ValueError(f"{place} it is empty")
    if len(text) >= MAX_SECRET_BYTES or any(c in text for c in "\r\n\0"):
        raise ValueError(f"{place} it must hold one line, the secret")
    return text


def unknown_names(
    environ: Mapping[str, str], known: Sequence[str], hooks: Sequence[str], *, from_file: bool
) -> Iterator[str]:
    """Yield a line for each variable that is set and only resembles one of ``known``.

    ``from_file``: any other name with one of our prefixes too. In the process's environment such
    a name may belong to another program, as Kubernetes' RM_SYNC_SERVICE_HOST does.
    CPR_TEST... and ``hooks`` are our tests' own.
    """
    for name, text in environ.items():
        if name in known or name in hooks or not text.strip() or name.startswith("CPR_TEST"):
            continue
        is_ours = name.upper().startswith(PREFIXES)
        cutoff = (0.6 if from_file else OURS_ALIKE) if is_ours else ALIKE
        near = get_close_matches(name.upper(), known, n=1, cutoff=cutoff)
        if not is_ours and name.startswith(tuple(f"{known_one}_" for known_one in near)):
            continue  # DATABASE_URL_OLD is another variable, not a mistyped one
        if near or (is_ours and from_file):
            yield unknown(name, *near)


def unknown(name: str, near: str = "") -> str:
    """Say that there is no such setting, and which one may be meant."""
    cure = f"did you mean {near}?" if near else "correct or remove it; .env.example has them all"
    return f"{name} is no setting of cprqueue: {cure}"
