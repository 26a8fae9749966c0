"""A command imports what it needs: all that there is takes most of a second of a processor."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cprqueue import bootstrap, cli

REPORT = """
import atexit, json, sys
atexit.register(lambda: sys.stderr.write("\\n" + json.dumps(sorted(sys.modules))))
from cprqueue.__main__ import main
main()
"""
SLOW = ("celery", "kombu", "redis", "requests", "sqlalchemy", "alembic", "tornado", "apprise")


def imported(directory: Path, *words: str) -> set[str]:
    """Run a command; return every module that it had imported in the end."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["nonsense"], {"sqlalchemy"}),
        (["history"], {"sqlalchemy"}),
        (["explain", "7"], {"sqlalchemy"}),
        (["status"], {"sqlalchemy", "celery", "kombu", "redis"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
def test_a_command_imports_no_library_that_it_does_not_need(
    tmp_path: Path, words: list[str], allowed: set[str]
) -> None:
    assert imported(tmp_path, *words) & set(SLOW) <= allowed


def test_the_help_of_all_has_the_first_lines_of_each_commands_own() -> None:
    top: Any = get_command(cli.app)
    for name, known in cli.COMMANDS.items():
        loaded = known.load(name)
        assert known.help == " ".join(inspect.cleandoc(loaded.help).split("\n\n")[0].split())
        assert (loaded.name, loaded.hidden) == (name, top.commands[name].hidden)


def test_a_worker_imports_all_that_an_application_imports_later() -> None:
    """What a child imported after an upgrade would be the new version, beside the old one."""
    source = Path(bootstrap.__file__).read_text(encoding="utf-8")
    needed = set(re.findall(r"^        from (cprqueue\S+) import", source, re.MULTILINE))
    script = (
        "import json, sys; from cprqueue import bootstrap; bootstrap.import_parts();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert needed
    assert needed <= set(json.loads(done.stdout))
