"""How tasks are shown in Flower and in logs: what they do, never an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WHAT = {
    "cpr.sweep": "whatever is due or was lost",
    "cpr.snapshot_and_prune": "this month's, if it is owed",
    "cpr.snapshot_export": "read QuickBooks Time",
    "cpr.read_geocoding": "which addresses were not placed",
    "cpr.upsert_job": "whatever is due",
    "cprqueue.canary": "does the queue move?",
}


def label(task: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return in a few words what a task is to do."""
    parts: list[str] = []
    if task == "cpr.fetch_jobs":
        parts.append("all jobs" if kwargs.get("full") else "changed jobs")
    job = kwargs.get("job", args[0] if args else None)
    if job is not None and not isinstance(job, Mapping):  # one with an address has a label
        parts.append(f"RM job {job}" if task == "cpr.upsert_job" else f"job {job}")
    if kwargs.get("approve"):
        parts.append("approved")
    if kwargs.get("run_id") is not None:
        parts.append(f"run {kwargs['run_id']}")
    return ", ".join(parts) or WHAT.get(task, "-")
