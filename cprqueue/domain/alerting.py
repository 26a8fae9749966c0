"""Pure: which alerts follow from what is the case now and from what was told before.

A condition is told when it begins and when it ends, once each. One that comes back within QUIET
is told again only when it has lasted, twice as long each time: so one that flaps sends few. An
event is a condition without an end.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cprqueue.domain.models import Json, built

QUIET = timedelta(hours=6)
PATIENCE = timedelta(minutes=10)
ELSEWHERE = timedelta(days=7)
"""What only another host can see is forgotten after this: the host may be gone for good."""

RETRIES = 5
"""So often a URL that fails is tried each minute; then every tenth, for a day."""

TRIES = 1440


class Level(StrEnum):
    """How much a person has to do about it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message to people."""

    title: str
    text: str
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is the case, known by its ``name``.

    ``over``: the title that tells its end, "" for an event. ``kind_of``: where another condition
    of the same follows, the end is not told. ``host``: the only one that can see it.
    ``old``: it happened before anybody listened, and is not told.
    """

    name: str
    title: str
    text: str
    level: Level = Level.ERROR
    over: str = ""
    kind_of: str = ""
    host: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of a condition, and the alert that is still to be sent to ``left``.

    ``since``: the beginning of its last episode. ``told_at``: when a beginning was told last.
    ``open``: a beginning was told, and no end. ``times``: how often, without
    QUIET between.
    """

    since: str
    present: bool
    told_at: str = ""
    open: bool = False
    times: int = 0
    over: str = ""
    kind_of: str = ""
    host: str = ""
    alert: Alert | None = None
    left: Sequence[str] = ()
    tries: int = 0

    @classmethod
    def of_json(cls, data: Json) -> Told:
        """Build one from what ``asdict`` once made of it."""
        made = built(cls, data)
        alert = built(Alert, made.alert) if made.alert is not None else None
        alert = replace(alert, level=Level(alert.level)) if alert is not None else None
        return replace(made, alert=alert, left=tuple(made.left))

    def as_json(self) -> dict[str, Json]:
        """Return plain data."""
        return asdict(self)

    def is_due(self, url: str) -> bool:
        """Tell whether the alert is to be sent to this URL now."""
        return url in self.left and (self.tries <= RETRIES or self.tries % 10 == 0)

    def sent(self, url: str) -> Told:
        """Return this after its alert went to the URL."""
        return self._with_left(each for each in self.left if each != url)

    def tried(self, urls: Container[str]) -> Told:
        """Return this after a round; URLs that are not in ALERT_URLS any more are dropped."""
        left = (each for each in self.left if each in urls and self.tries < TRIES)
        return replace(self._with_left(left), tries=self.tries + 1)

    def _with_left(self, urls: Iterable[str]) -> Told:
        left = tuple(urls)
        return replace(self, left=left, alert=self.alert if left else None)


Book = Mapping[str, Told]
"""What was told, by the name of the condition."""


def settle(
    book: Book, found: Iterable[Condition], now: datetime, *, host: str, urls: Sequence[str]
) -> dict[str, Told]:
    """Return what is told after ``found`` was seen, with the alerts that it makes due."""
    present = {each.name: each for each in found}
    after = {}
    for name in dict.fromkeys([*book, *present]):
        if name in present:
            after[name] = _present(book.get(name), present[name], now, urls)
        elif (told := _absent(book[name], present, now, host, urls)) is not None:
            after[name] = told
    return after


def _present(was: Told | None, found: Condition, now: datetime, urls: Sequence[str]) -> Told:
    if was is not None and was.open:
        return replace(was, present=True)
    if was is None or not was.present:
        again = was is not None and bool(was.told_at) and _age(was.told_at, now) < QUIET
        times = was.times if was is not None and again else 0
        told_at = was.told_at if was is not None else ""
        was = Told(since=now.isoformat(), present=True, times=times, told_at=told_at)
    was = replace(was, over=found.over, kind_of=found.kind_of, host=found.host)
    if found.old:
        return replace(was, open=True)
    if _age(was.since, now) < patience(was.times):
        return was
    alert = Alert(title=found.title, text=found.text, level=found.level)
    times, at = was.times + 1, now.isoformat()
    return replace(was, open=True, told_at=at, times=times, alert=alert, left=tuple(urls), tries=0)


def _absent(
    was: Told, present: Mapping[str, Condition], now: datetime, host: str, urls: Sequence[str]
) -> Told | None:
    if was.host not in ("", host):
        return was if _age(was.since, now) < ELSEWHERE else None
    if not was.over:
        return was if was.left else None
    if not was.open:
        forgotten = not was.left and (not was.told_at or _age(was.told_at, now) >= QUIET)
        return None if forgotten else replace(was, present=False)
    ended = replace(was, present=False, open=False)
    if was.kind_of and any(each.kind_of == was.kind_of for each in present.values()):
        return replace(ended, left=(), alert=None)
    alert = Alert(title=was.over, text=f"It lasted {_lasted(was.since, now)}.", level=Level.INFO)
    return replace(ended, alert=alert, left=tuple(urls), tries=0)


def patience(times: int) -> timedelta:
    """Return how long a condition has to last that was told so often of late."""
    return timedelta(0) if not times else min(PATIENCE * 2 ** min(times - 1, 10), QUIET)


def _age(moment: str, now: datetime) -> timedelta:
    return abs(now - datetime.fromisoformat(moment))


def _lasted(since: str, now: datetime) -> str:
    minutes = round(_age(since, now) / timedelta(minutes=1))
    if minutes < 120:
        return f"{max(minutes, 1)} min"
    return f"{minutes / 60:.0f} h"
