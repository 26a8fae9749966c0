"""How plans of prunes and remove-alls are printed, and what came of them."""

from __future__ import annotations

from cprqueue.bootstrap import Application
from cprqueue.cli.console import print_json, say, say_error, show_table
from cprqueue.domain.prune_plan import PrunePlan
from cprqueue.domain.records import PlanItem, Run
from cprqueue.domain.states import Outcome, RunState
from cprqueue.store import plan_items

ROWS_SHOWN = 60


def show_plan(made: PrunePlan) -> None:
    """Print what a prune would do."""
    rows = [(row.job_number, str(row.jobcode_id), row.reason) for row in made.archive]
    title = f"Would be archived: {len(rows)}"
    show_table(title, ("job", "jobcode", "reason"), rows[:ROWS_SHOWN])
    if len(rows) > ROWS_SHOWN:
        say(f"... and {len(rows) - ROWS_SHOWN} more: --json shows all")
    held_back = [(row.job_number, str(row.jobcode_id), row.reason) for row in made.held_back]
    _show_held_back(held_back, ROWS_SHOWN)
    say(f"{made.unmanaged} unmanaged jobcodes are left alone; the limit is {made.limit}")
    if made.tripped:
        say_error(f"the brake would hold this: {made.tripped}")


def report(
    app: Application, row: Run, *, json: bool, with_note: bool = True, all_rows: bool = False
) -> None:
    """Print a plan on record, and what came of each jobcode."""
    with app.db.read() as conn:
        items = plan_items.of_run(conn, row.run_id)
    if json:
        print_json(report_json(row, items))
    else:
        _show_report(row, items, with_note=with_note, all_rows=all_rows)


def report_json(row: Run, items: list[PlanItem]) -> dict[str, object]:
    """Return a plan on record as the command line prints it."""
    detail = row.details
    leaving, held_back = _parted(items)
    return {
        "run_id": row.run_id,
        "state": row.state,
        "note": row.note,
        "archive": [_item_json(item, item.reason) for item in leaving],
        "held_back": [_item_json(item, item.note) for item in held_back],
        "unmanaged": detail.get("unmanaged"),
        "limit": detail.get("limit"),
        "tripped": detail.get("tripped") if row.state is RunState.HELD else None,
    }


def _parted(items: list[PlanItem]) -> tuple[list[PlanItem], list[PlanItem]]:
    """Return the items that leave, or were to, and those that were held back."""
    held_back = [item for item in items if item.outcome is Outcome.HELD_BACK]
    return [item for item in items if item.outcome is not Outcome.HELD_BACK], held_back


def _item_json(item: PlanItem, reason: str | None) -> dict[str, object]:
    return {
        "job_id": item.job_id,
        "job_number": item.label,
        "jobcode_id": item.jobcode_id,
        "name": item.name,
        "reason": reason,
        "outcome": item.outcome,
        "note": item.note,
    }


def _show_held_back(rows: list[tuple[str, str, str]], shown: int) -> None:
    if rows:
        show_table(f"Held back: {len(rows)}", ("job", "jobcode", "why"), rows[:shown])


def _show_report(row: Run, items: list[PlanItem], *, with_note: bool, all_rows: bool) -> None:
    leaving, held_back = _parted(items)
    shown = len(items) if all_rows else ROWS_SHOWN
    show_table(
        f"Run {row.run_id}, {row.state}",
        ("job", "jobcode", "outcome", "reason or note"),
        [(i.label, str(i.jobcode_id), i.outcome, i.note or i.reason) for i in leaving[:shown]],
    )
    if len(leaving) > shown:
        say(f"... and {len(leaving) - shown} more: cprqueue prune show {row.run_id} --all")
    held = [(item.label, str(item.jobcode_id), item.note or "") for item in held_back]
    _show_held_back(held, shown)
    if with_note:
        say(row.note or "")
