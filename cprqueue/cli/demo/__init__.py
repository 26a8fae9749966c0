"""``cprqueue demo``: everything on embedded parts, checked and reported from first to last."""

from __future__ import annotations

import random
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cprqueue.cli.console import err, out
from cprqueue.cli.demo import changes, report
from cprqueue.cli.demo.picture import drawing
from cprqueue.cli.demo.report import Round
from cprqueue.cli.demo.system import DemoSystem, open_system
from cprqueue.sandbox.audit import Audit, audit
from cprqueue.store import push_queue

OTHERS = ("Office", "Shop", "Drive time")
"""Jobcodes that somebody made by hand; nobody may touch them."""

LISTING_CALLS = 2  # QuickBooks Time is read once before the first push: jobcodes and locations


def demo(
    jobs: Annotated[int, typer.Option(min=10, help="How many RM jobs there are.")] = 2000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
    picture: Annotated[
        Path | None, typer.Option(hidden=True, help="Draw what it says into this file, as SVG.")
    ] = None,
) -> None:
    """See the whole system at work on made-up jobs: no account, nothing left behind."""
    with ExitStack() as drawn:
        drawn.enter_context(drawing(picture))
        out.print(f"[bold]cprqueue demo[/]: {jobs} made-up jobs, local services, nothing to set up")
        with open_system(jobs) as system:
            good = _perform(system)
            drawn.close()
            if keep:
                _invite(system)
                signal.pause()
    raise typer.Exit(0 if good else 1)


def _perform(system: DemoSystem) -> bool:
    with err.status("starting sandbox, broker, workers, beat, Flower and the board"):
        others = {system.sandbox.qbt.add_jobcode(name=name) for name in OTHERS}
        system.wait_until_ready()
    out.print(f"The board, for the office: {system.board_url}", highlight=False)
    out.print(f"Flower, every task:        {system.flower_url}", highlight=False)
    out.print("\n[bold]First sync[/]: everything is new")
    first = _round(system, "first sync", others)
    plan = changes.invent(system.sandbox.rm.jobs(), random.Random(1))  # noqa: S311 - for play
    system.sandbox.rm.put_jobs(plan.all())
    out.print("\n[bold]Second sync[/]: some jobs changed")
    second = _round(system, "second sync", others, least=plan.least_calls())
    _report(system, plan, [first, second])
    return not (first.audit.wrong or second.audit.wrong)


def _round(system: DemoSystem, name: str, others: set[int], *, least: int | None = None) -> Round:
    before = len(system.sandbox.call_log.select("qbt"))
    printed = system.sync()
    calls = len(system.sandbox.call_log.select("qbt")) - before
    found = audit(system.sandbox.rm.jobs(), system.sandbox.qbt.state(), unmanaged=others)
    least = _least_for_all(found) if least is None else least
    return Round(name=name, printed=printed, calls=calls, least=least, audit=found)


def _least_for_all(found: Audit) -> int:
    created = changes.batches(found.right) + changes.batches(found.with_location)
    return created + LISTING_CALLS


def _report(system: DemoSystem, plan: changes.Changes, rounds: list[Round]) -> None:
    report.show_rounds(rounds)
    report.show_changes(plan)
    report.show_audits(rounds)
    with system.db.read() as conn:
        report.show_parked(push_queue.failing(conn))
    out.print()
    if any(one.audit.wrong for one in rounds):
        out.print("[bold red]Something is wrong: see above.[/]")
    else:
        out.print("[bold green]All as it should be.[/]")
    report.show_what_is_next()


def _invite(system: DemoSystem) -> None:
    out.print("\nStill running, on the sandbox:", highlight=False)
    out.print(f"  the board:  {system.board_url} (try its buttons)", highlight=False)
    out.print(f"  Flower:     {system.flower_url}", highlight=False)
    out.print("In another terminal, try the commands on it:", highlight=False)
    status = report.command(system.directory, "status")
    out.print(f"  cd {system.directory} && {status}", highlight=False, soft_wrap=True)
    out.print("Ctrl-C ends it and removes everything.")
