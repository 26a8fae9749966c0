"""Wrong words on the command line are one line with the cure, and exit 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import clean_environment


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("sync --nope", "error: No such option: --nope: see `cprqueue sync --help`"),
        (
            "prune aprove 1",
            "error: No such command 'aprove'. Did you mean 'approve'? See `cprqueue prune --help`",
        ),
        (
            "history --limit x",
            "error: Invalid value for '--limit': write a whole number: "
            "see `cprqueue history --help`",
        ),
        ("resync", "error: Missing argument 'JOB': see `cprqueue resync --help`"),
    ],
)
def test_wrong_words_are_one_line_that_names_the_help(
    tmp_path: Path, words: str, line: str
) -> None:
    command = [sys.executable, "-m", "cprqueue", *words.split()]
    done = subprocess.run(
        command, env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")
