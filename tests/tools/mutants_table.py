"""Which modules are examined, and which tests are a module's own.

Those of ``cprqueue/a/b.py`` are all of ``tests/a/b/`` or ``tests/a/`` where there is such a
folder; whatever is tested elsewhere stands in the table. The longest beginning of a path counts.
"""

from __future__ import annotations

from pathlib import Path

EXAMINED = (
    "plan.py", "names.py", "mapping.py", "brake.py", "retry.py", "models.py",
    "budget.py", "transport.py", "store/*.py", "services/**/*.py",
)  # fmt: skip

PUSH = "push push_unsure leftovers kill_work kill_batch kill_looks"
PRUNE = "prune prune_resumed kill_prune kill_archive"
STORE = "database kill_links kill_runs kill_locks kill_exports"

OWN = {
    "plan.py": "plan plan_properties kill_plan",
    "names.py": "names kill_mapping",
    "mapping.py": "mapping kill_mapping",
    "brake.py": "plan prune kill_brake kill_prune",
    "retry.py": "retry",
    "models.py": "plan names mapping kill_models",
    "budget.py": "budget kill_budget",
    "transport.py": "transport kill_transport",
    "store/": STORE,
    "services/": "explain inspect months check first_export",
    "services/work.py": f"{PUSH} push_failures",
    "services/batch.py": PUSH,
    "services/looks.py": PUSH,
    "services/push.py": PUSH,
    "services/leftovers.py": PUSH,
    "services/archive.py": PRUNE,
    "services/prune.py": PRUNE,
    "services/prune_facts.py": PRUNE,
    "services/families.py": PRUNE,
    "services/remove_all.py": "prune prune_resumed kill_remove_all",
    "services/undo.py": "undo kill_undo",
    "services/record.py": "record kill_record",
    "services/drift.py": "drift kill_drift",
    "services/pull.py": "closing files kill_pull",
    "services/files.py": "files",
    "services/snapshot.py": "snapshot kill_snapshot",
    "services/closing.py": "closing kill_closing",
    "services/orders.py": "orders kill_orders",
    "services/resync.py": "resync kill_resync",
    "services/token.py": "token kill_token",
}
"""Beginning of a path below ``cprqueue/`` -> test files (``x`` is ``tests/test_x.py``), folders."""

TOO_SLOW = "not kill_at_any_line and not a_third_of_all_answers and not of_ten_thousand"
"""Tests of half a minute, or of processes, are no use where each is run a hundred times."""


def modules(root: Path) -> list[str]:
    """Return the paths of the examined modules."""
    product = root / "cprqueue"
    found = {path for pattern in EXAMINED for path in product.glob(pattern)}
    return sorted(str(p.relative_to(root)) for p in found if p.name != "__init__.py")


def tests_of(root: Path, module: str) -> list[str]:
    """Return the test files and folders of a module."""
    below = module.removeprefix("cprqueue/")
    fitting = [start for start in OWN if below.startswith(start)]
    places = OWN[max(fitting, key=len)].split() if fitting else []
    own = [f"tests/{place}" if "/" in place else f"tests/test_{place}.py" for place in places]
    folder = Path(below).with_suffix("")
    own += [f"tests/{f}" for f in (folder, folder.parent) if str(f) != "."][:1] if not own else []
    return [path for path in own if (root / path).exists()]
