"""``cprqueue remove-all``: the emergency. Without the phrase it only rehearses."""

from __future__ import annotations

from typing import Annotated

import typer

from cprqueue.bootstrap import Application
from cprqueue.cli import waiting, watch
from cprqueue.cli.console import note, print_json, say
from cprqueue.cli.interrupted import interrupted, run_goes_on
from cprqueue.cli.prune import progress_of
from cprqueue.cli.snapshot import Timeout, Wait, queued, ready, take_snapshot
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunState
from cprqueue.errors import ServiceUnreachable
from cprqueue.services.prune.remove_all import Rehearsal

NAMES_SHOWN = 20


def remove_all(
    confirm: Annotated[
        str | None, typer.Option(metavar="PHRASE", help="The phrase that the rehearsal shows.")
    ] = None,
    include_unmanaged: Annotated[
        bool, typer.Option("--include-unmanaged", help="Also jobcodes that no job has.")
    ] = False,
    wait: Wait = True,
    timeout: Timeout = 7200,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Archive every managed jobcode; without --confirm it only says what would happen.

    Ctrl-C stops it after the step under way; the same command continues it;
    `cprqueue undo RUN` restores everything.

    Example: cprqueue remove-all
    """
    app = ready()
    if confirm is None:
        _rehearse(app, include_unmanaged=include_unmanaged, json=json)
    else:
        run_id = _order(app, confirm, include_unmanaged=include_unmanaged)
        if not wait:
            queued("remove-all", run_id, json=json)
        _see_to_its_end(app, run_id, timeout, json=json)


def _rehearse(app: Application, *, include_unmanaged: bool, json: bool) -> None:
    seen = app.remove_all.rehearse(
        take_snapshot(app, "remove-all"), include_unmanaged=include_unmanaged
    )
    if json:
        print_json(
            {
                "managed": seen.managed,
                "unmanaged": seen.unmanaged,
                "leaving": seen.leaving,
                "on_the_clock": seen.on_the_clock,
                "kept": seen.kept,
                "calls": seen.calls,
                "free_calls": seen.free,
                "minutes": round(seen.minutes, 1),
                "phrase": seen.phrase,
            }
        )
        return
    _show(seen, include_unmanaged=include_unmanaged)


def _show(seen: Rehearsal, *, include_unmanaged: bool) -> None:
    say(f"{seen.leaving} jobcodes would be archived; nothing was changed.")
    say(f"  managed: {seen.managed}, unmanaged: {seen.unmanaged}")
    say(f"  calls: {seen.calls}, of which {min(seen.calls, seen.free)} can be made at once")
    if seen.minutes:
        say(f"  it waits for the other calls: {seen.minutes:.0f} minutes at most")
    busy = ", ".join(seen.on_the_clock[:NAMES_SHOWN]) or "nobody"
    say(f"  on the clock, to be held back: {busy}")
    if seen.kept:
        names = ", ".join(seen.kept[:NAMES_SHOWN]) + (", ..." if seen.kept[NAMES_SHOWN:] else "")
        say(f"  kept by somebody, archived all the same: {len(seen.kept)}: {names}")
    more = " --include-unmanaged" if include_unmanaged else ""
    say(f'To do it:  cprqueue remove-all{more} --confirm "{seen.phrase}"')


def _order(app: Application, phrase: str, *, include_unmanaged: bool) -> int:
    """Put it on record and send it, or the one that was stopped; return its run id."""
    from cprqueue.operating import send

    waiting.for_workers(["maintenance"])
    run_id = app.remove_all.resumable(phrase) or app.remove_all.request(
        take_snapshot(app, "remove-all"), phrase, include_unmanaged=include_unmanaged
    )
    with interrupted(lambda: run_goes_on(run_id, "remove-all")):
        try:
            send.send("cpr.remove_all", run_id=run_id)
        except ServiceUnreachable:
            app.remove_all.stop(run_id)
            raise
    return run_id


def _see_to_its_end(app: Application, run_id: int, timeout: float, *, json: bool) -> None:
    """Follow it; Ctrl-C stops it after the step under way."""
    with interrupted(lambda: run_goes_on(run_id, "remove-all")):
        try:
            row = _follow(app, run_id, timeout)
        except KeyboardInterrupt:
            app.remove_all.stop(run_id)
            note("stopping after the step under way ...")
            row = _follow(app, run_id, timeout)
    if json:
        print_json({"run_id": run_id, "state": row.state, "note": row.note})
    else:
        _say(row)
    raise typer.Exit(0 if row.state is RunState.DONE else 1)


def _say(row: Run) -> None:
    say(f"run {row.run_id}: {row.note or row.state}")
    say("The ordinary sync is suspended until `cprqueue sync --full`,")
    say(f"or restore everything with:  cprqueue undo {row.run_id}")


def _follow(app: Application, run_id: int, timeout: float) -> Run:
    def words(row: Run) -> str:
        return f"{progress_of(app)(row)} of {row.emitted}"

    return watch.until_ended(app, run_id, what="remove-all", timeout_seconds=timeout, words=words)
