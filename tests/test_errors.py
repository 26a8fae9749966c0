"""The error tree: what it says at its top is what it is, and each error survives the pool."""

from __future__ import annotations

import inspect
import pickle
import re
import resource
import signal
from pathlib import Path

import pytest

from cprqueue import crashes, errors

CLASSES: list[type[errors.CprqueueError]] = [
    each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, errors.CprqueueError)
]
EXTRA: dict[type, tuple[object, ...]] = {
    errors.RateLimited: (7.5,),
    errors.OutOfCalls: (3.0,),
    errors.Refused: (417,),
    errors.AccessStopped: (401,),
}


def tree() -> dict[str, tuple[str, int]]:
    """Read the drawing: the parent and the exit code of each class."""
    found: dict[str, tuple[str, int]] = {}
    above: list[str] = ["CprqueueError"]
    code = {"CprqueueError": errors.CprqueueError.exit_code}
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.fullmatch(r"    ((?:\|   |    )*)[|`]-- (\w+)\s*(.*)", line)
        if not drawn:
            continue
        depth = len(drawn[1]) // 4 + 1
        above[depth:] = [drawn[2]]
        exit_code = re.search(r"exit (\d)", drawn[3])
        code[drawn[2]] = int(exit_code[1]) if exit_code else code[above[depth - 1]]
        found[drawn[2]] = (above[depth - 1], code[drawn[2]])
    return found


def test_the_drawn_tree_is_the_tree() -> None:
    real = {c.__name__: (c.__mro__[1].__name__, c.exit_code) for c in CLASSES[1:]}
    assert tree() == real


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_survives_pickling(cls: type[errors.CprqueueError]) -> None:
    error = cls("one line", *EXTRA.get(cls, ()))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert type(again) is cls
    assert str(again) == str(error) == "one line"
    assert vars(again) == vars(error)
    assert again.args == error.args


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_says_what_to_make_of_it(cls: type[errors.CprqueueError]) -> None:
    assert cls.__doc__
    assert cls.exit_code in (1, 2, 3)


def test_nothing_that_passes_by_itself_is_permanent() -> None:
    assert issubclass(errors.AlreadyRunning, errors.Transient)
    assert not issubclass(errors.AccessStopped, (errors.Permanent, errors.Transient))
    assert errors.AlreadyRunning("x").exit_code == 1


def test_settings_problems_are_one_line_each() -> None:
    error = errors.SettingsError("A is wrong", "B is wrong")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert str(again) == "A is wrong\nB is wrong"
    assert again.problems == ("A is wrong", "B is wrong")


def test_a_traceback_that_is_cut_short_leaves_no_file(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as on a full disk
    try:
        assert crashes.save("  File x\n", [tmp_path]).startswith("nothing")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
    assert crashes.save("  File x\n", [tmp_path]).startswith(str(tmp_path))
