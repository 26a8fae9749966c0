"""Mutation testing: change one thing in a module, and see whether its own quick tests notice.

``make mutants`` works on a copy of the tree. Each mutant runs only the tests that reach its
line; one that no test reaches survives unrun. mutmut 3 and cosmic-ray 8 were looked at first:
neither drops a statement or empties what a function returns, and those are the mutants that
survived here; neither takes a seeded sample of a module.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.office  # noqa: F401  (each child has the libraries that this loads)
from tests.tools.mutants_table import TOO_SLOW, modules, tests_of
from tests.tools.mutations import REACHED, Mutant, marked, mutants_of

COPIED = ("cprqueue", "workers", "tests", "pyproject.toml", "celerybeat-schedule.py")
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "xdist.plugin"]
SLOWEST = 20
"""Seconds for one test with a mutant: longer is a loop without an end, which is a failure too."""


class Reach:
    """A pytest plugin that notes which statements of the marked module each test reaches."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what one test reaches, its fixtures included."""
        lines: set[int] = set()
        setattr(builtins, REACHED, lines)
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        self.found[item.nodeid] = {"seconds": seconds, "lines": sorted(lines)}


def in_child(tree: Path, limit: float, work: Callable[[], int]) -> int | None:
    """Do ``work`` in a process of its own in ``tree``; None where it took too long."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        for name in [n for n in sys.modules if n.split(".")[0] in ("cprqueue", "tests", "workers")]:
            del sys.modules[name]
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os._exit(int(work()))
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def reached_by(tree: Path, module: str, tests: list[str]) -> dict[str, Any]:
    """Run the module's tests unchanged; return each with its seconds and the lines it reaches."""
    report = tree / "reach.json"
    put(tree, module, marked((tree / module).read_text()))

    def work() -> int:
        reach, at_import = Reach(), set[int]()
        setattr(builtins, REACHED, at_import)
        code = pytest.main([*PYTEST, "-k", TOO_SLOW, *tests], plugins=[reach])
        for seen in reach.found.values():  # what runs when a test file is read, all of it needs
            seen["lines"] = sorted(at_import.union(seen["lines"]))
        report.write_text(json.dumps(reach.found))
        return int(code)

    if in_child(tree, 600, work) != 0:
        sys.exit(f"error: the tests of {module} fail without any mutant: {' '.join(tests)}")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def put(tree: Path, module: str, source: str) -> None:
    """Replace a module in the copy, and what Python has compiled of it."""
    (tree / module).write_text(source)
    for compiled in (tree / module).parent.glob(f"__pycache__/{Path(module).stem}.*"):
        compiled.unlink()


def survives(tree: Path, module: str, mutant: Mutant, reached: dict[str, Any]) -> bool:
    """Tell whether every test that reaches the mutant passes all the same."""
    tests = [name for name, seen in reached.items() if mutant.line in seen["lines"]]
    tests.sort(key=lambda name: float(reached[name]["seconds"]))
    if not tests:
        return True
    put(tree, module, mutant.source)

    def work() -> int:
        sys.dont_write_bytecode = True
        return int(pytest.main([*PYTEST, f"--timeout={SLOWEST}", *tests]))

    usual = sum(reached[name]["seconds"] for name in tests)
    return in_child(tree, 2 * SLOWEST + 3 * usual, work) == 0


def examine(root: Path, module: str, options: argparse.Namespace) -> None:
    """Print the survivors of one module, and its score."""
    found = mutants_of((root / module).read_text())
    if options.line:
        found = [mutant for mutant in found if mutant.line in options.line]
    elif not options.all and len(found) > options.sample:
        chosen = random.Random(f"{options.seed} {module}")
        found = [found[n] for n in sorted(chosen.sample(range(len(found)), options.sample))]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        tree = Path(name).resolve()
        for part in COPIED:
            copy = shutil.copytree if (root / part).is_dir() else shutil.copy
            copy(root / part, tree / part)
        reached = reached_by(tree, module, options.tests or tests_of(root, module))
        left = 0
        for mutant in found:
            if survives(tree, module, mutant, reached):
                left += 1
                print(f"  survived  {module}:{mutant}", flush=True)  # noqa: T201
    print(f"{module}: {len(found) - left} of {len(found)} killed", flush=True)  # noqa: T201


def main() -> None:
    """Read the command line and examine one module, or all of them."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="cprqueue/store/runs.py, for example; default: all"
    )
    parser.add_argument("--sample", type=int, default=14, help="mutants of a module (14)")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another sample")
    parser.add_argument("--line", type=int, nargs="*", help="only the mutants of these lines")
    parser.add_argument("--tests", nargs="*", help="test files to run instead of the module's own")
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each costs more than most of the tests
    for module in options.modules or modules(root):
        examine(root, module, options)


if __name__ == "__main__":
    main()
