"""Settings: the only module that reads the environment.

Settings come from ``.env`` in the working directory and from the environment, which wins.
Every wrong value is reported, not only the first: one line each, with the cure.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values

from cprqueue.errors import SettingsError
from cprqueue.fuse import POINTS

T = TypeVar("T")

QBT_PRODUCTION_URL = "https://rest.tsheets.com/api/v1"
NETWORK = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""Variables that HTTP clients read from the environment themselves: ours, and Apprise's."""

BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Secrets are left out of ``repr``."""

    rm_base_url: str
    rm_username: str
    rm_password: str = field(repr=False)
    rm_api_secret: str = field(repr=False)
    rm_site_ids: tuple[int, ...]
    rm_active_statuses: tuple[str, ...]
    rm_inactive_progress: tuple[str, ...]
    rm_excluded_job_numbers: tuple[str, ...]
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    broker_is_embedded: bool
    var_dir: Path
    qbt_base_url: str
    qbt_access_token: str = field(repr=False)
    qbt_client_id: str
    qbt_client_secret: str = field(repr=False)
    qbt_refresh_token: str = field(repr=False)
    qbt_rate_limit: int
    qbt_rate_window: timedelta
    qbt_max_attempts: int
    qbt_retry_base: timedelta
    lease: timedelta
    prune_max_fraction: float
    prune_min_limit: int
    prune_max_limit: int
    alert_urls: tuple[str, ...] = field(repr=False)
    timezone: str
    log_format: str
    fuse: str

    def require_services(self) -> Settings:
        """Return these settings, or raise SettingsError where RM or QuickBooks Time lack one."""
        needed = {
            "RM_BASE_URL": self.rm_base_url,
            "RM_USERNAME": self.rm_username,
            "RM_PASSWORD": self.rm_password,
            "RM_API_SECRET": self.rm_api_secret,
            "QBT_ACCESS_TOKEN": self.qbt_access_token,
        }
        problems = [
            f"{name} is not set: put it into .env" for name, value in needed.items() if not value
        ]
        if problems:
            raise SettingsError(*problems)
        return self

    def make_var_dir(self) -> None:
        """Make the directory for data. Raises SettingsError where it cannot be used."""
        try:
            (self.var_dir / "beat").mkdir(parents=True, exist_ok=True)
            if not os.access(self.var_dir, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise SettingsError(
                f"CPR_VAR_DIR is {self.var_dir}, where nothing can be written: {error.strerror}"
            ) from None


def environment(directory: Path | None = None) -> dict[str, str]:
    """Return what ``.env`` and the process's environment say together; the environment wins.

    What ``.env`` says about proxies and certificates enters the environment of this process.
    """
    dotenv = dotenv_values((directory or Path.cwd()) / ".env")
    for name in NETWORK:
        value = dotenv.get(name)
        if value and name not in os.environ and name.lower() not in os.environ:
            os.environ[name] = value
    return {**{k: v for k, v in dotenv.items() if v is not None}, **os.environ}


def authorities() -> str:
    """Return the file or directory of the certificate authorities to trust; "" for the usual ones.

    Raises SettingsError where what a variable names is not there.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        found = os.environ.get(name, "")
        if found and not Path(found).exists():
            raise SettingsError(f"{name} is {found}: there is no such file or directory")
        if found:
            return found
    return ""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Build the settings from ``environ`` (default: ``.env`` and the process's environment).

    Values that are wrong raise SettingsError with all problems. Missing credentials are
    legal here, because not every command needs them: see ``Settings.require_services``.
    """
    reader = _Reader(environment() if environ is None else environ)
    settings = _read(reader)
    if reader.problems:
        raise SettingsError(*reader.problems)
    return settings


def log_format(environ: Mapping[str, str] | None = None) -> str:
    """Return how to log, before all settings are read; a wrong value counts as text here."""
    found = (environment() if environ is None else environ).get("CPR_LOG_FORMAT", "")
    return "json" if found.strip() == "json" else "text"


class _Reader:
    """Reads one variable after another and collects what is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def get(self, name: str, convert: Callable[[str], T], default: T) -> T:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError as error:
            self.problems.append(f"{name} {error}")
            return default

    def text(self, name: str, default: str = "") -> str:
        return self.get(name, str, default)

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        return self.get(name, _texts, default)


def _read(reader: _Reader) -> Settings:
    var_dir = Path(reader.text("CPR_VAR_DIR", "var")).absolute()
    broker_url = reader.text("CELERY_BROKER_URL")
    minimum = reader.get("PRUNE_MIN_LIMIT", _whole(0), 10)
    return Settings(
        rm_base_url=reader.get("RM_BASE_URL", _service_url, ""),
        rm_username=reader.text("RM_USERNAME"),
        rm_password=reader.text("RM_PASSWORD"),
        rm_api_secret=reader.get("RM_API_SECRET", _header_safe, ""),
        rm_site_ids=reader.get("RM_SITE_IDS", _whole_numbers, ()),
        rm_active_statuses=reader.get("RM_ACTIVE_STATUSES", _statuses, ("Active",)),
        rm_inactive_progress=reader.texts(
            "RM_INACTIVE_PROGRESS", ("Lost Lead", "Paid in Full - File Closed")
        ),
        rm_excluded_job_numbers=reader.texts("RM_EXCLUDED_JOB_NUMBERS", ("LAX-UNALLOCATED JC",)),
        database_url=reader.get("DATABASE_URL", _url, f"sqlite:///{var_dir / 'cprqueue.db'}"),
        broker_url=reader.get("CELERY_BROKER_URL", _broker_url, ""),
        broker_is_embedded=not broker_url,
        var_dir=var_dir,
        qbt_base_url=reader.get("QBT_BASE_URL", _service_url, QBT_PRODUCTION_URL),
        qbt_access_token=reader.get("QBT_ACCESS_TOKEN", _header_safe, ""),
        qbt_client_id=reader.text("QBT_CLIENT_ID"),
        qbt_client_secret=reader.text("QBT_CLIENT_SECRET"),
        qbt_refresh_token=reader.text("QBT_REFRESH_TOKEN"),
        qbt_rate_limit=reader.get("QBT_RATE_LIMIT", _whole(2), 300),
        qbt_rate_window=reader.get("QBT_RATE_WINDOW", _seconds, timedelta(seconds=300)),
        qbt_max_attempts=reader.get("QBT_MAX_ATTEMPTS", _whole(1), 8),
        qbt_retry_base=reader.get("QBT_RETRY_BASE_SECONDS", _seconds, timedelta(seconds=2)),
        lease=reader.get("CPR_LEASE_SECONDS", _seconds, timedelta(seconds=90)),
        prune_max_fraction=reader.get("PRUNE_MAX_FRACTION", _fraction, 0.2),
        prune_min_limit=minimum,
        prune_max_limit=reader.get("PRUNE_MAX_LIMIT", _whole(minimum), max(50, minimum)),
        alert_urls=reader.get("ALERT_URLS", _alert_urls, ()),
        timezone=reader.get("CPR_TIMEZONE", _timezone, "UTC"),
        log_format=reader.get("CPR_LOG_FORMAT", _one_of("text", "json"), "text"),
        fuse=reader.get("CPR_FUSE", _fuse, ""),
    )


def _texts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _statuses(text: str) -> tuple[str, ...]:
    # Of a status without any letter nothing is left to compare, so every job without one fits.
    found = _texts(text)
    if not found or not all(any(c.isalnum() for c in status) for status in found):
        raise ValueError(f"is {text!r}: write at least one status in letters, like Active")
    return found


def _alert_urls(text: str) -> tuple[str, ...]:
    # They may hold a password, so the message never shows them.
    found = _texts(text)
    for number, url in enumerate(found, 1):
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", url):
            raise ValueError(f"number {number} is no URL: write scheme://..., several with ;")
    return found


def _fuse(text: str) -> str:
    if not set(text.split(",")) <= POINTS:
        raise ValueError("names no point that there is; it is for tests only: leave it empty")
    return text


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _texts(text))
    except ValueError:
        raise ValueError(f"is {text!r}: write whole numbers like 8;33") from None


def _whole(minimum: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not re.fullmatch("-?[0-9]{1,9}", text) or int(text) < minimum:
            raise ValueError(f"is {text!r}: write a whole number, {minimum} or more")
        return int(text)

    return convert


def _seconds(text: str) -> timedelta:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise ValueError(f"is {text!r}: write a number of seconds above 0")
    return timedelta(seconds=value)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"is {text!r}: write a share between 0 and 1, like 0.2")
    return value


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"is {text!r}: write a zone name like America/Denver") from None
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is {text!r}: write {' or '.join(choices)}")
        return text

    return convert


def _header_safe(text: str) -> str:
    if not text.isascii() or any(character.isspace() for character in text):
        raise ValueError("holds a space or a character that no token has: copy it again")
    return text


def _url(text: str) -> str:
    # The text may hold a password, so the message never shows it.
    if "://" not in text:
        raise ValueError("is no URL: it must look like scheme://host/...")
    return text


def _broker_url(text: str) -> str:
    scheme = _url(text).split("://", 1)[0].lower()
    if scheme not in BROKER_SCHEMES:
        raise ValueError(f"begins with {scheme}://: it must be redis:// or amqp://")
    return text


def _service_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
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


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this very machine by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
