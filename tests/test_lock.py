"""The lock files fit requirements.txt and requirements-dev.txt. Nothing here needs a network."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CURE = "run `make lock`"


@dataclass(frozen=True)
class Pin:
    """One entry of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]
    asked_by: frozenset[str]


def listed(name: str) -> dict[str, Requirement]:
    """Return what a list of requirements asks for, with the lists that it takes in."""
    found: dict[str, Requirement] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].strip()
        if words.startswith("-r "):
            found |= listed(words.removeprefix("-r "))
        elif words:
            found[canonicalize_name(Requirement(words).name)] = Requirement(words)
    return found


def build_group() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    group = [Requirement(words) for words in project["dependency-groups"]["build"]]
    return {canonicalize_name(requirement.name): requirement for requirement in group}


def pins(name: str) -> dict[str, Pin]:
    """Return the entries of a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    found = [
        Pin(
            Requirement(entry.split("\\")[0]),
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)),
            frozenset(re.findall(r"^ {4}# (?:via)? *(\S.*)$", entry, re.MULTILINE)),
        )
        for entry in entries
    ]
    return {canonicalize_name(pin.requirement.name): pin for pin in found}


LISTED = {
    "requirements.lock": listed("requirements.txt") | build_group(),
    "requirements-dev.lock": listed("requirements-dev.txt"),
}


@pytest.mark.parametrize("lock", LISTED)
def test_a_lock_holds_all_that_is_listed_as_it_is_listed(lock: str) -> None:
    locked = pins(lock)
    for name, desired in LISTED[lock].items():
        assert name in locked, f"{lock} lacks {desired}: {CURE}"
        found = locked[name].requirement
        assert found.specifier == desired.specifier, f"{lock} has {found}, not {desired}: {CURE}"
        assert found.extras >= desired.extras, f"{lock} has {found}, not {desired}: {CURE}"


@pytest.mark.parametrize("lock", LISTED)
def test_a_lock_holds_nothing_that_is_no_longer_listed(lock: str) -> None:
    direct = {
        name
        for name, pin in pins(lock).items()
        if any(by.startswith("-r ") or ":build" in by for by in pin.asked_by)
    }
    assert direct == set(LISTED[lock]), f"{lock} is out of date: {CURE}"


@pytest.mark.parametrize("lock", LISTED)
def test_everything_in_a_lock_is_one_version_with_hashes(lock: str) -> None:
    for name, pin in pins(lock).items():
        assert [version.operator for version in pin.requirement.specifier] == ["=="], name
        assert pin.hashes, name


@pytest.mark.parametrize("lock", LISTED)
def test_a_lock_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"index-url|find-links|trusted-host", text)


def test_the_tests_run_on_what_the_product_runs_on() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    for name, pin in run.items():
        if name not in build_group():
            assert name in dev, CURE
            mine, theirs = dev[name].requirement, pin.requirement
            assert (mine.specifier, dev[name].hashes) == (theirs.specifier, pin.hashes), CURE
            assert mine.marker in (theirs.marker, None), f"{name}: {CURE}"  # None: on every system
