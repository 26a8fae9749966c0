"""Settings: the only module that reads the environment.

Settings come from ``.env`` in the working directory and from the environment, which wins.
Every wrong value is reported, not only the first: one line each, with the cure. A variable
that begins like one of ours and is none is wrong too: a mistyped RM_SITE_IDS must never mean
"all sites". A new setting is one line in ``Settings``, and one each in README and .env.example.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from datetime import time, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from cprqueue import alerts, private_files
from cprqueue.errors import SettingsError
from cprqueue.settings import broker_address, dotenv_file, others, places, values, web
from cprqueue.settings.reader import PREFIXES, SettingReader, unknown, unknown_names
from cprqueue.settings.web import WebUser

T = TypeVar("T")

QBT_PRODUCTION_URL = "https://rest.tsheets.com/api/v1"
NETWORK = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""Variables that HTTP clients read from the environment themselves: ours, and Apprise's."""

TESTING = "CPR_TESTING"
"""Set by our tests alone: it allows short leases, and the hooks that ``test_hook`` reads."""

LONGEST_REQUEST = timedelta(seconds=75)
"""How long a call to QuickBooks Time may take, from the connection to the last byte."""
LEAST_LEASE = timedelta(seconds=80)
DOCUMENTED_CALLS, DOCUMENTED_WINDOW = 300, timedelta(seconds=300)


def setting(name: str, convert: Callable[[str], T], default: T, *, secret: bool = False) -> T:
    """Declare a field of Settings: its variable, how its text is read, its default.

    A secret is left out of ``repr``, and may also come from the file that NAME_FILE names.
    """
    found: Any = field(default=default, repr=not secret, metadata={"name": name, "read": convert})
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Secrets are left out of ``repr``."""

    rm_base_url: str = setting("RM_BASE_URL", values.service_url, "")
    rm_username: str = setting("RM_USERNAME", str, "")
    rm_password: str = setting("RM_PASSWORD", str, "", secret=True)
    rm_api_secret: str = setting("RM_API_SECRET", values.header_safe, "", secret=True)
    rm_site_ids: tuple[int, ...] = setting("RM_SITE_IDS", values.whole_numbers, ())
    rm_active_statuses: tuple[str, ...] = setting(
        "RM_ACTIVE_STATUSES", values.statuses, ("Active",)
    )
    rm_inactive_progress: tuple[str, ...] = setting(
        "RM_INACTIVE_PROGRESS", values.texts, ("Lost Lead", "Paid in Full - File Closed")
    )
    rm_excluded_job_numbers: tuple[str, ...] = setting(
        "RM_EXCLUDED_JOB_NUMBERS", values.texts, ("LAX-UNALLOCATED JC",)
    )
    database_url: str = setting("DATABASE_URL", values.database_url, "", secret=True)
    broker_url: str = setting("CELERY_BROKER_URL", values.broker_url, "", secret=True)
    var_dir: Path = setting("CPR_VAR_DIR", values.directory, Path("var"))
    qbt_base_url: str = setting("QBT_BASE_URL", values.service_url, QBT_PRODUCTION_URL)
    qbt_access_token: str = setting("QBT_ACCESS_TOKEN", values.header_safe, "", secret=True)
    qbt_client_id: str = setting("QBT_CLIENT_ID", str, "")
    qbt_client_secret: str = setting("QBT_CLIENT_SECRET", str, "", secret=True)
    qbt_refresh_token: str = setting("QBT_REFRESH_TOKEN", str, "", secret=True)
    qbt_rate_limit: int = setting("QBT_RATE_LIMIT", values.whole(2), DOCUMENTED_CALLS)
    qbt_rate_window: timedelta = setting("QBT_RATE_WINDOW", values.seconds, DOCUMENTED_WINDOW)
    qbt_max_attempts: int = setting("QBT_MAX_ATTEMPTS", values.whole(1), 8)
    qbt_retry_base: timedelta = setting(
        "QBT_RETRY_BASE_SECONDS", values.seconds, timedelta(seconds=2)
    )
    lease: timedelta = setting("CPR_LEASE_SECONDS", values.seconds, timedelta(seconds=90))
    prune_max_fraction: float = setting("PRUNE_MAX_FRACTION", values.fraction, 0.2)
    prune_min_limit: int = setting("PRUNE_MIN_LIMIT", values.whole(0), 10)
    prune_max_limit: int = setting("PRUNE_MAX_LIMIT", values.whole(0), 50)
    prune_quiet_days: int = setting("PRUNE_QUIET_DAYS", values.whole(0, 366), 7)
    push_max_fraction: float = setting("PUSH_MAX_FRACTION", values.fraction, 0.2)
    push_min_limit: int = setting("PUSH_MIN_LIMIT", values.whole(0), 20)
    alert_urls: tuple[str, ...] = setting("ALERT_URLS", values.alert_urls, (), secret=True)
    alert_heartbeat_url: str = setting("ALERT_HEARTBEAT_URL", values.web_url, "", secret=True)
    digest: time | None = setting("CPR_DIGEST", values.time_of_day, None)
    timezone: str = setting("CPR_TIMEZONE", values.timezone, "UTC")
    log_format: str = setting("CPR_LOG_FORMAT", values.one_of("text", "json"), "text")
    web_users: tuple[WebUser, ...] = setting("CPR_WEB_USERS", web.users, (), secret=True)
    web_port: int = setting("CPR_WEB_PORT", values.whole(1, 65535), 8080)
    web_url: str = setting("CPR_WEB_URL", web.url, "")
    web_proxies: tuple[web.Network, ...] = setting("CPR_WEB_PROXIES", web.networks, ())

    @property
    def broker_is_embedded(self) -> bool:
        """True where ``up`` brings the broker."""
        return not self.broker_url

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
            hint = places.no_dotenv() if len(problems) == len(needed) else ()
            raise SettingsError(*hint, *problems)
        return self

    def make_var_dir(self) -> None:
        """Make the directory for data, ours alone. Raises SettingsError where it cannot be used."""
        try:
            for place in (self.var_dir, self.var_dir / "beat", self.var_dir / "flower"):
                private_files.make_directory(place)
        except OSError as error:
            raise SettingsError(
                f"CPR_VAR_DIR is {self.var_dir}, where nothing can be written: {error.strerror}"
            ) from None

    def full_disk(self) -> str:
        """Return one line about a disk on which nothing can be written any more, or ""."""
        try:
            private_files.raise_if_full(self.var_dir)
        except FileNotFoundError:
            return ""  # nothing was ever written there
        except OSError as error:
            return (
                f"nothing can be written to {self.var_dir}: {error.strerror}: free some space on "
                "its disk; what is owed is done then"
            )
        return ""


SETTINGS: Mapping[str, Field[Any]] = {f.metadata["name"]: f for f in fields(Settings) if f.metadata}
FILES = tuple(f"{name}_FILE" for name, f in SETTINGS.items() if not f.repr)
"""The variables that name a file with a secret in it."""

KNOWN = (*SETTINGS, *FILES)


def environment(directory: Path | None = None) -> dict[str, str]:
    """Return what ``.env`` and the process's environment say together; the environment wins.

    What ``.env`` says about proxies and certificates enters the environment of this process, and
    what would make another database of DATABASE_URL leaves it. Raises SettingsError where a line
    of ``.env`` is wrong.
    """
    found = dotenv_file.read((directory or Path.cwd()) / ".env")
    cut_short = {name.partition("_")[2]: name for name in SETTINGS if name.startswith(PREFIXES)}
    problems = [unknown(name, cut_short[name]) for name in found if name in cut_short]
    problems += unknown_names(found, KNOWN, _hooks(os.environ), from_file=True)
    if problems:
        raise SettingsError(*problems)
    for name in NETWORK:
        if found.get(name) and name not in os.environ and name.lower() not in os.environ:
            os.environ[name] = found[name]
    for name in others.WHICH_DATABASE & os.environ.keys():
        del os.environ[name]
    return {**found, **os.environ}


def _hooks(environ: Mapping[str, str]) -> list[str]:
    return ["CPR_FAILPOINTS"] if environ.get(TESTING) else []


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
    reader = SettingReader(environment() if environ is None else environ)
    read = {f.name: reader.get(f) for f in SETTINGS.values()}
    settings = Settings(**read)
    hooks = _hooks(reader.environ)
    mistyped = unknown_names(reader.environ, KNOWN, hooks, from_file=False)
    problems = [*mistyped, *reader.problems]
    problems += [text for text in _contradictions(settings, reader.environ) if not problems]
    if problems:
        raise SettingsError(*problems)
    return settings if settings.database_url else _on_sqlite(settings)


def log_format(environ: Mapping[str, str] | None = None) -> str:
    """Return how to log, before all settings are read; a wrong value counts as text here."""
    found = (environment() if environ is None else environ).get("CPR_LOG_FORMAT", "")
    return "json" if found.strip() == "json" else "text"


def test_hook(name: str) -> str:
    """Return a variable that only our tests set; empty unless CPR_TESTING is set too."""
    return os.environ.get(name, "") if os.environ.get(TESTING) else ""


def for_programs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the programs that ``up`` starts: one reader for each variable.

    What a library would read by itself is left out, and a blank setting is an empty one.
    """
    kept = {name: text for name, text in environ.items() if not others.is_taken_out(name)}
    return kept | {
        name: environ.get(name, "").strip() for name in (*SETTINGS, *FILES) if name in environ
    }


NOTHING_BY_ITSELF = {
    "NETRC": os.devnull,  # or requests would take passwords for alerts from ~/.netrc
    "PYTHONIOENCODING": "utf-8:backslashreplace",  # what a pipe or a file gets, in any locale
}
"""What is set instead of left out, because a library falls back on something else."""


def leave_nothing_to_celery() -> None:
    """Do the same to this process's own environment; before Celery reads it.

    How Flower is reached, and how a worker ends, may be set for a program that runs alone.
    """
    kept = for_programs(os.environ) | NOTHING_BY_ITSELF
    for name in set(os.environ) - set(kept):
        if name != "REMAP_SIGTERM" and not name.startswith("FLOWER_"):
            del os.environ[name]
    os.environ.update(kept)


def _contradictions(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Name each pair of settings that cannot both be meant."""
    given = {
        "QBT_CLIENT_ID": settings.qbt_client_id,
        "QBT_CLIENT_SECRET": settings.qbt_client_secret,
        "QBT_REFRESH_TOKEN": settings.qbt_refresh_token,
    }
    missing = [name for name, value in given.items() if not value]
    if 0 < len(missing) < len(given):
        present = next(name for name, value in given.items() if value)
        yield f"{present} is set, {' and '.join(missing)} not: set all three, or none"
    low, high = settings.prune_min_limit, settings.prune_max_limit
    if low > high:
        both = {"PRUNE_MIN_LIMIT": low, "PRUNE_MAX_LIMIT": high}
        named = sorted(both, key=lambda name: not environ.get(name, "").strip())
        shown = (f"{name} is {both[name]}{_default(name, environ)}" for name in named)
        cure = f"set PRUNE_MIN_LIMIT to {high} or less, or PRUNE_MAX_LIMIT to {low} or more"
        yield f"{' and '.join(shown)}: {cure}"
    yield from places.missing_directory(settings.database_url, "DATABASE_URL", settings.var_dir)
    if settings.lease < LEAST_LEASE and not environ.get(TESTING):
        yield (
            f"CPR_LEASE_SECONDS is {settings.lease.total_seconds():g}: write "
            f"{LEAST_LEASE.total_seconds():g} or more, because one request may take "
            f"{LONGEST_REQUEST.total_seconds():g} s and another worker would take its jobs over"
        )
    if settings.rm_base_url == settings.qbt_base_url:
        yield "RM_BASE_URL and QBT_BASE_URL are the same: they are two services"
    for path in broker_address.files(settings.broker_url):
        if not Path(path).exists():
            yield f"CELERY_BROKER_URL names {path}: there is no such file"
    yield from _too_many_calls(settings)
    for number, address in enumerate(settings.alert_urls, 1):
        if not alerts.is_understood(address):
            yield f"ALERT_URLS number {number} is not understood by Apprise: see its documentation"


def _default(name: str, environ: Mapping[str, str]) -> str:
    return "" if environ.get(name, "").strip() else " (its default)"


def _too_many_calls(settings: Settings) -> Iterator[str]:
    if values.is_loopback(urlsplit(settings.qbt_base_url).hostname or ""):
        return
    limit, window = settings.qbt_rate_limit, settings.qbt_rate_window
    if limit > DOCUMENTED_CALLS or limit * DOCUMENTED_WINDOW > DOCUMENTED_CALLS * window:
        yield (
            f"QBT_RATE_LIMIT and QBT_RATE_WINDOW allow {limit} calls in "
            f"{window.total_seconds():g} s: QuickBooks Time refuses more than 300 in 300 s"
        )


def _on_sqlite(settings: Settings) -> Settings:
    """Put the database into CPR_VAR_DIR; whatever its path holds, it is no part of a URL."""
    path = quote(str(settings.var_dir / "cprqueue.db"), safe=" +/")  # as SQLAlchemy reads it
    return replace(settings, database_url=f"sqlite:///{path}")
