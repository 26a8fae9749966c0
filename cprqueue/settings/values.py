"""Pure: how the text of each setting becomes its value. Each raises ValueError, one plain line.

The line goes on after the setting's name, says what to write, and shows no text that may hold
a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import time, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cprqueue.settings import broker_address


def texts(text: str) -> tuple[str, ...]:
    """Split a list at its semicolons."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def statuses(text: str) -> tuple[str, ...]:
    """Read a list of job statuses, at least one."""
    # Of a status without any letter nothing is left to compare, so every job without one fits.
    found = texts(text)
    if not found or not all(any(c.isalnum() for c in status) for status in found):
        raise ValueError(f"is {text!r}: write at least one status in letters, like Active")
    if "," in text:
        raise ValueError(f"is {text!r}: separate several with ; like Active;Open")
    return found


def alert_urls(text: str) -> tuple[str, ...]:
    """Read a list of Apprise URLs; whether Apprise knows them is another question."""
    # They may hold a password, so the message never shows them.
    found = texts(text)
    for number, url in enumerate(found, 1):
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", url):
            raise ValueError(f"number {number} is no URL: write scheme://..., several with ;")
    return found


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read a list of whole numbers, at least one: an empty list of sites would mean all."""
    found = texts(text)
    if not found or not all(re.fullmatch("[0-9]{1,9}", part) for part in found):
        raise ValueError(f"is {text!r}: write whole numbers like 8;33")
    return tuple(int(part) for part in found)


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Read one whole number."""
    limits = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def convert(text: str) -> int:
        number = int(text) if re.fullmatch("-?[0-9]{1,9}", text) else minimum - 1
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"is {text!r}: write a whole number, {limits}")
        return number

    return convert


def seconds(text: str) -> timedelta:
    """Read a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise ValueError(f"is {text!r}: write a number of seconds above 0")
    return timedelta(seconds=value)


def fraction(text: str) -> float:
    """Read a share."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"is {text!r}: write a share between 0 and 1, like 0.2")
    return value


def time_of_day(text: str) -> time | None:
    """Read an hour and minute."""
    found = re.fullmatch("([0-9]{1,2}):([0-9]{2})", text)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError(f"is {text!r}: write hour and minute like 07:00")
    return time(int(found[1]), int(found[2]))


def timezone(text: str) -> str:
    """Read the name of a time zone."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"is {text!r}: write a zone name like America/Denver") from None
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """Read one of these words."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is {text!r}: write {' or '.join(choices)}")
        return text

    return convert


def directory(text: str) -> Path:
    """Read a directory's path; ``~`` is the user's home, as in a shell."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"is {text!r}, and that home is not known: write the whole path") from None


def header_safe(text: str) -> str:
    """Read a token that travels in a header."""
    if not text.isascii() or any(character.isspace() for character in text):
        raise ValueError("holds a space or a character that no token has: copy it again")
    return text


def url(text: str) -> str:
    """Read any URL."""
    # The text may hold a password, so the message never shows it.
    if "://" not in text:
        raise ValueError("is no URL: it must look like scheme://host/...")
    return text


def database_url(text: str) -> str:
    """Read a database's URL; the driver checks the rest."""
    if re.search("://[^:/@]*:[^@]*@[^/]*@", text):
        raise ValueError("has an @ in its password: write it as %40")  # or it is called a host
    if re.fullmatch(r"sqlite(\+\w+)?://(/:memory:)?/?", url(text)):
        raise ValueError("is SQLite in memory, which each process forgets: name a file")
    return text


def broker_url(text: str) -> str:
    """Read a broker's URL, or several for its failover, separated by ``;``."""
    broker_address.read(text)
    return text


def web_url(text: str) -> str:
    """Read an address to call. It is as good as a password, so the message never shows it."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and parts.port != 0
        fine = fine and bool(_host(parts.hostname or ""))
    except ValueError:
        fine = False
    if not fine or any(character.isspace() for character in text):
        raise ValueError("is no web address: it must look like https://host/path")
    return text


def service_url(text: str) -> str:
    """Read a service's base URL; secrets travel to it, so it is encrypted or on this machine."""
    try:
        parts = urlsplit(text)
        port = parts.port
        _host(parts.hostname or "")
    except ValueError:
        raise ValueError("has a host or port that cannot be: ports go from 1 to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no web address: it must look like https://host or https://host/path")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold only scheme, host, port and path: no user, query or fragment")
    if port == 0:
        raise ValueError("has port 0: ports go from 1 to 65535")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"sends secrets to {parts.hostname} unencrypted: use https://")
    return text.rstrip("/")


def _host(host: str) -> str:
    """Return a host as the name service is asked for it. Raises ValueError for a..b, for example.

    The network's libraries raise what nobody expects of them there.
    """
    return host.encode("idna").decode() if host else ""


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this very machine by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
