"""Which modules are examined, and which tests are a module's own. Derived from the folders.

The tests of ``cprqueue/services/push/x.py``, a module of a stage, are all of
``tests/services/push/``. Elsewhere the modules of a folder have little to do with each other: the
tests of ``cprqueue/a/x.py`` are ``tests/a/test_x*.py``, or all of ``tests/a/`` where none is called
so.
"""

from __future__ import annotations

from pathlib import Path

EXAMINED = ("domain/*.py", "clients/*.py", "store/*.py", "services/**/*.py")
NEVER = ("__init__.py", "tables.py")
"""Without any function, or with none but what every test needs."""

ALSO = {
    "clients/transport.py": "clients/test_certificates.py",
    "domain/hierarchy.py": "services/prune",
    "domain/prune_plan.py": "services/prune",
    "domain/recording.py": "services",
    "domain/records.py": "store",
    "services/gates.py": "services/push services/prune",
    "store/events.py": "services",
    "store/job_batches.py": "services/test_record_batch.py",
    "store/job_changes.py": "services",
    "store/jobs.py": "services",
    "store/orphaned_creates.py": "services/push",
    "store/plan_items.py": "services/prune",
}
"""Modules that are tested by way of others: further folders or files of tests."""

TOO_SLOW = (
    "not kill_at_any_line and not a_third_of_all_answers and not of_ten_thousand"
    " and not converges_from_any_state"
)
"""Tests of half a minute, or of processes, are no use where each is run a hundred times."""


def modules(root: Path) -> list[str]:
    """Return the paths of the examined modules."""
    product = root / "cprqueue"
    found = {path for pattern in EXAMINED for path in product.glob(pattern)}
    return sorted(str(p.relative_to(root)) for p in found if p.name not in NEVER)


def tests_of(root: Path, module: str) -> list[str]:
    """Return the test files of a module."""
    below = Path(module).relative_to("cprqueue")
    folder = root / "tests" / below.parent
    is_stage = len(below.parts) > 2
    own = [] if is_stage else sorted(folder.glob(f"test_{below.stem}*.py"))
    found = own or sorted(folder.glob("test_*.py"))
    for more in ALSO.get(str(below), "").split():
        place = root / "tests" / more
        found += [place] if place.is_file() else sorted(place.glob("test_*.py"))
    return [str(path.relative_to(root)) for path in dict.fromkeys(found)]
