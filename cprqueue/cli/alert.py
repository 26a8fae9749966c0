"""``alert --test`` and ``digest``: what people are sent through ALERT_URLS."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cprqueue import alerts
from cprqueue.bootstrap import application, send_alert
from cprqueue.cli.console import note, print_json, say, show_outcomes
from cprqueue.domain.alerting import Alert, Level
from cprqueue.errors import SettingsError, UsageError
from cprqueue.services import digest as digests
from cprqueue.store import schema

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

TEST = Alert(
    title="test",
    text="This is a test: whoever reads it is told when something is wrong.",
    level=Level.INFO,
)


def alert(
    test: Annotated[bool, typer.Option("--test", help="Send a test to everybody.")] = False,
    json: Json = False,
) -> None:
    """Send a test to every URL in ALERT_URLS and say of each whether it went.

    Ends with 1 if one did not.

    Example:  cprqueue alert --test
    """
    if not test:
        raise UsageError("alerts are sent by the sweep: `cprqueue alert --test` sends a test")
    outcome = _sent(TEST)
    if json:
        print_json({"ok": _all_went(outcome), "urls": outcome})
    else:
        show_outcomes((bool(each["ok"]), str(each["url"]), _said(each)) for each in outcome)
    raise typer.Exit(0 if _all_went(outcome) else 1)


def digest(
    send: Annotated[bool, typer.Option("--send", help="Send it to ALERT_URLS too.")] = False,
    json: Json = False,
) -> None:
    """Show the morning's lines: what came, went, and waits for a person since a day ago.

    CPR_DIGEST=07:00 sends them each morning. Ends with 1 if one was to be sent
    and did not go.

    Example:  cprqueue digest
    """
    from cprqueue import celery  # slow to import
    from cprqueue.runtime import timetable

    app = application()
    schema.require_current(app.db)
    with app.db.read() as conn:
        found = digests.read(conn, timetable.latest(celery.app))
    outcome = _sent(found.as_alert()) if send else []
    if json:
        print_json({**asdict(found), "lines": found.lines(), "urls": outcome})
    else:
        for line in found.lines():
            say(line)
        for each in outcome:
            note(f"{each['url']}: {_said(each)}")
    raise typer.Exit(0 if _all_went(outcome) else 1)


def _sent(what: Alert) -> list[dict[str, object]]:
    """Send it to everybody; return for each URL, masked, whether it went, and why not."""
    urls = application().settings.alert_urls
    if not urls:
        raise SettingsError("ALERT_URLS is not set: put an Apprise URL into .env")
    outcome = []
    for url in urls:
        reason = send_alert(url, what)
        outcome.append({"url": alerts.shown(url), "ok": not reason, "text": reason})
    return outcome


def _said(each: dict[str, object]) -> str:
    return "sent" if each["ok"] else f"not sent: {each['text']}"


def _all_went(outcome: list[dict[str, object]]) -> bool:
    return all(each["ok"] for each in outcome)
