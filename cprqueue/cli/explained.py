"""How ``explain`` looks on a terminal."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from rich.markup import escape
from rich.text import Text

from cprqueue.cli.console import note, out, pairs, print_json, table
from cprqueue.domain.push_plan import Compared
from cprqueue.domain.records import Event, LinkState
from cprqueue.services.reports.explain import MOST_HITS, Explanation, Hit


def show_choice(text: str, found: list[Hit], *, as_json: bool) -> None:
    """List the jobs that may be meant; with ``as_json`` as ``{"candidates": [...]}``."""
    if as_json:
        print_json({"candidates": [asdict(hit) for hit in found]})
        return
    number = f"the first {MOST_HITS}" if len(found) == MOST_HITS else str(len(found))
    rows = table(f"{number} jobs fit {text!r}", "Id", "Number", "Name", "Street", "State")
    for hit in found:
        state = "in step" if hit.state == LinkState.IN_SYNC else hit.state
        texts = (str(hit.job_id), hit.job_number, hit.job_name, hit.street, state)
        rows.add_row(*map(escape, texts))
    out.print(rows)
    note("Choose one by its id:  cprqueue explain ID")


def show_explanation(found: Explanation) -> None:
    """Print the sentence, then what it rests on."""
    out.print(Text(found.sentence, style="bold"), highlight=False)
    out.print()
    out.print(pairs(_facts(found)), highlight=False)
    if found.differences:
        _show_differences(found.differences)
    if found.events:
        _show_events(found.events)


def _facts(found: Explanation) -> dict[str, str]:
    job, link = found.job, found.link
    address = ", ".join(filter(None, (job.addr1, job.addr2, job.city, job.state, job.zip)))
    facts = {
        "Job": f"RM job {job.job_id}, {job.job_number or 'no number'}, {job.job_name}",
        "Address": address or "none",
        "Rule": job.rule,
        "Recorded": _moment(job.recorded_at),
    }
    if link and link.jobcode_id:
        facts["Link"] = f"jobcode {link.jobcode_id}, location {link.location_id or 'none'}"
        facts["Last pushed"] = _moment(link.pushed_at)
    if link and link.intent:
        facts["Not certain"] = f"{link.intent} was sent {_moment(link.intent_at)}"
    return facts


def _show_differences(compared: list[Compared]) -> None:
    out.print()
    rows = table("", "Field", "Wanted", "In QuickBooks Time", "")
    rows.title = None
    for row in compared:
        mark = "" if row.equal else "[bold yellow]differs[/]"
        rows.add_row(row.field, escape(row.desired), escape(row.observed), mark)
    out.print(rows)


def _show_events(happened: list[Event]) -> None:
    out.print()
    rows = table("", "When", "What", "Details", "Run")
    rows.title = None
    for event in happened:
        run = str(event.run_id or "")
        rows.add_row(_moment(event.at), event.kind, escape(event.text), run)
    out.print(rows)


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"
