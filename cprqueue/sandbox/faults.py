"""Which calls fail, and how: rules that a test sets."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cprqueue.sandbox import fault_fields
from cprqueue.sandbox.fault_fields import KINDS

NEVER_ACTS = ("status", "rate_limited", "drop", "html")
WRITES = ("POST", "PUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. ``service``, ``method`` and ``path`` choose calls; ``nth``, ``every`` or
    ``share`` choose among those (all of them without); ``times`` ends the rule.

    ``path`` is relative to the service and takes everything below it: ``/locations`` is not
    ``/locations_map``. ``nth`` counts matching calls from 1, from when the rule was set.
    """

    kind: str
    service: str | None = None
    method: str | None = None
    path: str = ""
    nth: tuple[int, ...] = ()
    every: int | None = None
    share: float | None = None
    times: int | None = None

    status: int | None = None
    """For status and act_then_status (503), html (200)."""
    body: str | None = None
    """In place of the usual body of that status; any text, JSON or not."""
    html: bool = False
    """The usual body is an HTML page."""
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 1.0
    """For slow and drip."""
    act: bool | None = None
    """Whether the service acts (garbled, html, cut), or acts before the wait (slow)."""

    positions: tuple[int, ...] = ()
    """For items: the failing ones, from 1."""
    item_share: float | None = None
    """For items: how likely each one fails."""
    where: tuple[tuple[str, Any], ...] = ()
    """For items: those with these fields fail."""
    code: int = 500
    message: str = "Internal Server Error"
    extra: str = ""

    def acts(self) -> bool:
        """Tell whether the service acts at all, or (slow) before the wait."""
        return self.kind not in NEVER_ACTS if self.act is None else self.act

    def matches(self, service: str, method: str, path: str) -> bool:
        """Tell whether the rule is about such a call."""
        return (
            self.service in (None, service)
            and (self.method is None or self.method.upper() == method)
            and (self.kind != "items" or method in WRITES)
            and is_below(path, self.path)
        )

    def fires(self, seen: int, used: int, rng: random.Random) -> bool:
        """Decide about the ``seen``-th matching call, after ``used`` firings."""
        if self.times is not None and used >= self.times:
            return False
        if self.nth:
            return seen in self.nth
        if self.every is not None:
            return seen % self.every == 0
        return self.share is None or rng.random() < self.share

    def fails_item(self, position: int, item: Mapping[str, Any], rng: random.Random) -> bool:
        """Decide about one item of a write."""
        if self.where and all(item.get(name) == value for name, value in self.where):
            return True
        if self.item_share is not None and rng.random() < self.item_share:
            return True
        return position in self.positions

    @classmethod
    def from_json(cls, rule: Mapping[str, Any]) -> Fault:
        """Return the rule that a JSON object describes; ValueError says what is wrong with it."""
        if not isinstance(rule, Mapping):
            raise ValueError(f"a fault is an object, not {rule!r}")
        if unknown := set(rule) - {field.name for field in fields(cls)}:
            raise ValueError(f"unknown field of a fault: {', '.join(sorted(map(str, unknown)))}")
        given = {
            name: fault_fields.read(name, value)
            for name, value in rule.items()
            if value is not None
        }
        if "kind" not in given:
            raise ValueError(f"a fault needs a kind: one of {', '.join(KINDS)}")
        if len({"nth", "every", "share"} & given.keys()) > 1:
            raise ValueError("a fault takes one of nth, every and share")
        if given["kind"] == "items" and not {"positions", "item_share", "where"} & given.keys():
            raise ValueError("an items fault needs positions, item_share or where")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads, without what is left at its default."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: value for name, value in shown.items() if value not in (None, (), "")}
        for name in ("headers", "where"):
            if name in given:
                given[name] = dict(given[name])
        return given


def is_below(path: str, prefix: str) -> bool:
    """Tell whether ``path`` is ``prefix`` or lies below it, without regard to case."""
    path, prefix = path.lower().rstrip("/"), prefix.lower().rstrip("/")
    return not prefix or path == prefix or path.startswith(prefix + "/")


@dataclass(slots=True)
class _Tally:
    fault: Fault
    seen: int = 0
    used: int = 0


@dataclass
class FaultScript:
    """The rules in force. The first that fires decides a call; every matching one counts it."""

    seed: int = 1
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._tallies: list[_Tally] = []
        self._lock = threading.Lock()
        self.rng = random.Random(self.seed)

    def set(self, rules: Iterable[Fault | Mapping[str, Any]]) -> None:
        """Replace all rules and begin to count anew; ValueError changes nothing."""
        faults = [rule if isinstance(rule, Fault) else Fault.from_json(rule) for rule in rules]
        with self._lock:
            self._tallies = [_Tally(fault) for fault in faults]
            self.rng.seed(self.seed)

    def clear(self) -> None:
        """Let everything work again."""
        self.set([])

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule as JSON, with the calls it has ``seen`` and was ``used`` on."""
        return [t.fault.to_json() | {"seen": t.seen, "used": t.used} for t in self._tallies]

    def decide(self, service: str, method: str, path: str) -> Fault | None:
        """Return the fault of this call, if any, and count it."""
        if not self._tallies:
            return None
        with self._lock:
            chosen: Fault | None = None
            for tally in self._tallies:
                if not tally.fault.matches(service, method, path):
                    continue
                tally.seen += 1
                if chosen is None and tally.fault.fires(tally.seen, tally.used, self.rng):
                    tally.used += 1
                    chosen = tally.fault
            return chosen
