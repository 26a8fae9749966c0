"""Pure: what `check` finds, and how answers are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cprqueue.config import Settings
from cprqueue.domain.mapping import truth
from cprqueue.domain.models import Json
from cprqueue.errors import SettingsError

OK, WARNING, PROBLEM, UNREACHABLE, SETTINGS = "ok", "warning", "problem", "unreachable", "settings"

CLOCK_WARNING = timedelta(seconds=60)
CLOCK_PROBLEM = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the check. ``state``: ok, warning, problem, unreachable, settings."""

    name: str
    state: str
    text: str
    cure: str = ""

    @property
    def fine(self) -> bool:
        """True where nothing has to be done before work can begin."""
        return self.state in (OK, WARNING)


def wrong_settings(error: SettingsError) -> list[Finding]:
    """Return a finding for each wrong or missing setting."""
    return [Finding(name="settings", state=SETTINGS, text=text) for text in error.problems]


def rights(user: Mapping[str, Json]) -> Finding:
    """Judge whether the token's user may do what we need."""
    found = user.get("permissions")
    held = found if isinstance(found, Mapping) else {}
    for right in ("admin", "manage_jobcodes"):
        if truth(held.get(right)):
            return Finding(name="rights", state=OK, text=f"the token's user has {right}")
    return Finding(
        name="rights",
        state=PROBLEM,
        text="the token's user has neither admin nor manage_jobcodes",
        cure="use the token of an administrator, or give that user 'manage jobcodes'",
    )


def integration(sections: Mapping[str, Json]) -> Finding:
    """Warn where QuickBooks itself has a hand in the jobcodes."""
    name = "integration"
    if not truth(_setting(sections, "quickbooks", "installed")):
        return Finding(name=name, state=OK, text="QuickBooks is not connected to the account")
    return Finding(
        name=name,
        state=WARNING,
        text="QuickBooks is connected, and may add, rename or archive jobcodes too",
        cure="let it sync no customers, or read `cprqueue history` for drift",
    )


def jobcode_limit(sections: Mapping[str, Json], active: int) -> Finding:
    """Judge whether the account takes as many jobcodes as there are active jobs."""
    name, text = "jobcode limit", str(_setting(sections, "general", "max_jobcodes") or "-1").strip()
    limit = int(text) if text.isdecimal() else -1
    if limit < 0:
        return Finding(name=name, state=OK, text="none")
    text = f"{limit} for the account, {active} jobs are active"
    if active < limit * 0.9:
        return Finding(name=name, state=OK, text=text)
    state = PROBLEM if active > limit else WARNING
    return Finding(name=name, state=state, text=text, cure="ask QuickBooks Time for a higher one")


def _setting(sections: Mapping[str, Json], section: str, name: str) -> Json:
    found = sections.get(section)
    values = found.get("settings") if isinstance(found, Mapping) else None
    return values.get(name) if isinstance(values, Mapping) else None


def token_end(expires_at: datetime | None, shown: str, *, now: datetime) -> Finding:
    """Judge when the token expires; None: made by hand, nobody knows. ``shown``: for people."""
    name = "token's end"
    if expires_at is None:
        text = "not known for a token made by hand; QuickBooks Time shows it under API"
        return Finding(name=name, state=OK, text=text)
    text = f"{shown}; it is renewed before that"
    if expires_at > now:
        return Finding(name=name, state=OK, text=text)
    cure = "connect again: put a new QBT_ACCESS_TOKEN and QBT_REFRESH_TOKEN into .env"
    return Finding(name=name, state=PROBLEM, text=f"expired {shown}", cure=cure)


def clocks(ahead: Mapping[str, timedelta]) -> Finding:
    """Compare our clock with the others: warn above a minute, a problem above five."""
    if not ahead:
        return Finding(name="clocks", state=WARNING, text="no other clock could be read")
    wrong = {name: off for name, off in ahead.items() if abs(off) > CLOCK_WARNING}
    if not wrong:
        text = f"ours and those of {', '.join(ahead)} agree"
        return Finding(name="clocks", state=OK, text=text)
    return Finding(
        name="clocks",
        state=PROBLEM if max(map(abs, wrong.values())) > CLOCK_PROBLEM else WARNING,
        text="; ".join(_off(name, off) for name, off in wrong.items()),
        cure="let the machine with the wrong clock follow a time server",
    )


def _off(name: str, off: timedelta) -> str:
    side = "ahead of" if off > timedelta(0) else "behind"
    return f"{name} is {abs(off).total_seconds():.0f} s {side} our clock"


def unheard_digest(settings: Settings) -> Iterator[Finding]:
    """Say that the digest goes to nobody."""
    if settings.digest and not settings.alert_urls:
        text = "CPR_DIGEST is set and ALERT_URLS is not: the digest goes to nobody"
        cure = "put an Apprise URL into ALERT_URLS: `cprqueue alert --test` tries it"
        yield Finding(name="digest", state=WARNING, text=text, cure=cure)
