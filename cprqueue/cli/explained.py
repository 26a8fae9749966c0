"""How ``explain`` is printed."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from cprqueue.cli.console import clean, moment, note, out, print_json, say, show_pairs, show_table
from cprqueue.domain.states import LinkState
from cprqueue.services.reports.explain import MOST_HITS, Explanation, Hit


def show_choice(text: str, found: list[Hit], *, as_json: bool) -> None:
    """List the jobs that may be meant; with ``as_json`` as ``{"candidates": [...]}``."""
    if as_json:
        print_json({"candidates": [asdict(hit) for hit in found]})
        return
    number = f"the first {MOST_HITS}" if len(found) == MOST_HITS else str(len(found))
    rows = [
        (str(hit.job_id), hit.job_number, hit.job_name, hit.street, _state(hit)) for hit in found
    ]
    title = f"{number} jobs fit {text!r}"
    show_table(title, ("Id", "Number", "Name", "Street", "State"), rows)
    note("Choose one by its id:  cprqueue explain ID")


def _state(hit: Hit) -> str:
    return "in step" if hit.state == LinkState.IN_SYNC else hit.state


def show_explanation(found: Explanation) -> None:
    """Print the sentence, then the facts behind it."""
    out.print(Text(clean(found.sentence), style="bold"), soft_wrap=True)
    say("")
    show_pairs(_facts(found))
    if found.differences:
        _show_differences(found)
    if found.events:
        _show_events(found)


def _facts(found: Explanation) -> dict[str, str]:
    job, link = found.job, found.link
    address = ", ".join(filter(None, (job.addr1, job.addr2, job.city, job.state, job.zip)))
    names = filter(None, (f"RM job {job.job_id}", job.job_number or "no number", job.job_name))
    facts = {
        "Job": ", ".join(names),
        "Address": address or "none",
        "Rule": job.rule,
        "Recorded": moment(job.recorded_at),
    }
    if link and link.jobcode_id:
        facts["Link"] = f"jobcode {link.jobcode_id}, location {link.location_id or 'none'}"
        facts["Last pushed"] = moment(link.pushed_at)
    if found.keep:
        facts["Kept"] = f"by {found.keep.requested_by}, {moment(found.keep.kept_at)}"
    if link and link.intent:
        facts["Not certain"] = f"{link.intent} was sent {moment(link.intent_at)}"
    return facts


def _show_differences(found: Explanation) -> None:
    say("")
    rows = [
        (row.field, row.desired, row.observed, "" if row.equal else Text("differs", "bold yellow"))
        for row in found.differences
    ]
    show_table("", ("Field", "Desired", "In QuickBooks Time", ""), rows)


def _show_events(found: Explanation) -> None:
    say("")
    rows = [
        (moment(event.at), event.kind, event.text, str(event.run_id or ""))
        for event in found.events
    ]
    show_table("", ("When", "What", "Details", "Run"), rows)
