"""A picture of what the demo says, for the documents: an SVG that needs nothing from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from cprqueue.cli.console import out
from cprqueue.errors import UsageError

COLUMNS = 96
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's own form, without fonts that a browser would fetch."""


@contextmanager
def drawing(path: Path | None) -> Iterator[None]:
    """Draw what standard output shows in the block into a file; nothing for None.

    Raises UsageError, before the block, where the file cannot be written.
    """
    if path is None:
        yield
        return
    _write(path, "")
    out.copy = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    try:
        yield
        _write(path, out.copy.export_svg(title="cprqueue demo", code_format=FORMAT))
    finally:
        out.copy = None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
