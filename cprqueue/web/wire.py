"""Pure: what a request says of itself, and how much of it is believed.

A page elsewhere may send a browser to this machine under a name of its own (DNS rebinding), so
only known names of the board are answered. What a proxy adds is believed from a proxy alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cprqueue.settings.values import is_loopback
from cprqueue.settings.web import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How the board is reached: its public address, if it has one, and its proxies."""

    url: str
    proxies: Sequence[Network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks, as far as that can be known, and how."""

    address: str
    secure: bool
    origin: str


def host_is_ours(host: str, place: Place) -> bool:
    """Tell whether ``host`` names this machine by itself, or is the host of the public address."""
    name = _name(host)
    public = urlsplit(place.url)
    return is_loopback(name) or (bool(public.hostname) and host.lower() == public.netloc.lower())


def _name(host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""


def visit(peer: str, host: str, headers: Mapping[str, str], place: Place) -> Visit:
    """Read a request; ``peer`` is the other end of its connection."""
    behind = is_proxy(peer, place)
    forwarded = headers.get("X-Forwarded-For", "") if behind else ""
    address = forwarded.rpartition(",")[2].strip() or peer
    public = urlsplit(place.url)
    is_public = public.scheme == "https" and host.lower() == public.netloc.lower()
    told = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower() if behind else ""
    secure = is_public or told == "https"
    return Visit(
        address=address[:64], secure=secure, origin=f"{'https' if secure else 'http'}://{host}"
    )


def is_proxy(peer: str, place: Place) -> bool:
    """Tell whether the peer may say for whom it asks: on this machine, or in CPR_WEB_PROXIES."""
    try:
        found = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return found.is_loopback or any(found in network for network in place.proxies)


def comes_from_elsewhere(headers: Mapping[str, str], origin: str) -> bool:
    """Tell whether another site's page sent this; a browser says so by itself.

    Pages here give no referrer, so a browser may send "null" as the origin of their own forms.
    """
    site = headers.get("Sec-Fetch-Site", "same-origin")
    told = headers.get("Origin", "null")
    return site not in ("same-origin", "none") or told.lower() not in ("null", origin.lower())
