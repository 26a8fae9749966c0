"""Commands that run in the test's own process: a hundred of them in the time of one process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from cprqueue import bootstrap
from cprqueue.cli import console, main
from tests.office import Office

Run = Callable[..., tuple[int, str, str]]
"""Runs a command; returns its exit code, and what it printed on standard output and error."""


@pytest.fixture
def run_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Office], Run]]:
    """Return what runs commands on an office."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cprqueue", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    def choose(office: Office) -> Run:
        for name, value in office.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(console.out, "_width", console.UNWRAPPED)  # pytest-xdist sets COLUMNS
        monkeypatch.chdir(office.settings.var_dir)
        end()
        return run

    def end() -> None:
        bootstrap.application().close()  # of the office before, if any
        bootstrap.forget()

    yield choose
    end()


@pytest.fixture
def run(office: Office, run_on: Callable[[Office], Run]) -> Run:
    """Run commands on the test's own office."""
    return run_on(office)
