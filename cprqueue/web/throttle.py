"""How many wrong passwords are too many, for an address, a name, and both together.

Each of them is counted in a bucket that a keyed hash chooses: memory is bounded by the number of
buckets, whatever somebody sends, and names that exist are treated as those that do not. That two
share a bucket is rare, and costs a wait.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass

WINDOW_SECONDS = 900
BUCKETS = 1 << 15


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries are allowed in a window."""

    kind: str
    tries: int


BOTH, ADDRESS, NAME = Limit("both", 8), Limit("address", 40), Limit("name", 100)


class Throttle:
    """Counts tries; a good one is taken back. ``now`` is a moment in seconds that never steps."""

    def __init__(self, buckets: int = BUCKETS) -> None:
        self._buckets_of_a_kind = buckets
        self._key = secrets.token_bytes(16)
        self._tries: dict[tuple[str, int], tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def try_one(self, address: str, name: str, now: float) -> float:
        """Count a try before it is made; return how many seconds it has to wait, 0 if none.

        One that has to wait is not counted.
        """
        buckets = self._buckets(address, name)
        waits = [self._wait(bucket, limit, now) for limit, bucket in buckets.items()]
        if not any(waits):
            for bucket in buckets.values():
                self._add(bucket, 1, now)
        return max(waits)

    def take_back(self, address: str, name: str, now: float) -> None:
        """Forget a try that was right."""
        for bucket in self._buckets(address, name).values():
            self._add(bucket, -1, now)

    def _buckets(self, address: str, name: str) -> dict[Limit, tuple[str, int]]:
        where, who = network(address), name.casefold()
        texts = {BOTH: f"{where} {who}", ADDRESS: where, NAME: who}
        return {limit: (limit.kind, self._number(text)) for limit, text in texts.items()}

    def _number(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        found = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
        return int.from_bytes(found, "big") % self._buckets_of_a_kind

    def _wait(self, bucket: tuple[str, int], limit: Limit, now: float) -> float:
        began, tries = self._tries.get(bucket, (now, 0))
        left = began + WINDOW_SECONDS - now
        return left if tries >= limit.tries and left > 0 else 0.0

    def _add(self, bucket: tuple[str, int], number: int, now: float) -> None:
        began, tries = self._tries.get(bucket, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, tries = now, 0
        self._tries[bucket] = (began, max(0, tries + number))


def network(address: str) -> str:
    """Return what counts as one address: of IPv6 a /64, which one customer has to himself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
