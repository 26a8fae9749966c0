"""Pure: a broker's URL, taken apart: what kombu reads in it, and what encryption it asks for.

kombu verifies no certificate unless the URL says so, and reads ``?...`` for Redis alone. So what
stands behind the ``?`` is taken out of the URL here, and goes to every reader in one form.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

SCHEMES = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp")
ENCRYPTED = ("rediss", "amqps")
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
CHOICES = {"ssl_check_hostname": ("true", "false"), "ssl_cert_reqs": tuple(REQUIREMENTS)}
MASTER = "master_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is: one URL, or several separated by ``;``, without options."""

    url: str
    scheme: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.scheme in ENCRYPTED

    @property
    def amqp(self) -> bool:
        """Whether it is RabbitMQ, or another broker that speaks as it does."""
        return "amqp" in self.scheme


def read(text: str) -> Address:
    """Take a URL apart. Raises ValueError, one plain line without any secret."""
    urls, options = [], {}
    for one in (part.strip() for part in text.split(";") if part.strip()):
        url, found = _read_one(one)
        urls.append(url)
        options.update(found)
    schemes = {_scheme(url) for url in urls}
    if len(schemes) > 1:
        raise ValueError(f"mixes {'://, '.join(sorted(schemes))}://: use one of them for all hosts")
    if not urls:
        raise ValueError("is no URL: it must look like scheme://host/...")
    scheme = schemes.pop()
    if scheme == "sentinel" and MASTER not in options:
        raise ValueError(f"names no master: end it with ?{MASTER}=NAME")
    return Address(url=";".join(urls), scheme=scheme, options=options)


def files(text: str) -> list[str]:
    """Return the files and directories that a URL names; it may be empty."""
    options = read(text).options if text else {}
    return [value for name, value in options.items() if name in FILES]


def _scheme(url: str) -> str:
    return url.split("://", 1)[0].lower()


def _read_one(text: str) -> tuple[str, dict[str, str]]:
    if "://" not in text:
        # The text may hold a password, so the message never shows it.
        raise ValueError("is no URL: it must look like scheme://host/...")
    scheme = _scheme(text)
    if scheme not in SCHEMES:
        raise ValueError(f"begins with {scheme}://: it must be redis:// or amqp://")
    if scheme == "redis+socket":
        return text, {}
    _raise_if_cut_short(text, numbered=scheme in ("redis", "rediss"))
    url, _, query = text.partition("?")
    return url, _options(scheme, dict(parse_qsl(query, keep_blank_values=True)))


def _options(scheme: str, found: dict[str, str]) -> dict[str, str]:
    known = (*FILES, *CHOICES) if scheme in ENCRYPTED else (MASTER,) if scheme == "sentinel" else ()
    for name, value in found.items():
        if name not in known:
            cure = f"write {' or '.join(known)}" if known else "end it before the ?"
            raise ValueError(f"has an option behind the ? that is none: {cure}")
        if name in CHOICES:
            found[name] = value.lower().removeprefix("cert_")
            if found[name] not in CHOICES[name]:
                raise ValueError(f"has a {name} that is none: write {' or '.join(CHOICES[name])}")
    return found


def _raise_if_cut_short(text: str, *, numbered: bool) -> None:
    """Refuse what kombu would read wrongly; in its own errors a piece of the password stands."""
    try:
        parts = urlsplit(text)
        wrong = parts.port == 0 or "@" in parts.path + parts.query + parts.fragment
        wrong = wrong or bool(re.search(r"\s", parts.netloc))
    except ValueError:
        wrong = True
    if wrong:
        cure = "in a password write / as %2F, ? as %3F, # as %23, @ as %40, a blank as %20"
        raise ValueError(f"has a host or port that cannot be: {cure}")
    if numbered and not re.fullmatch("[0-9]*", parts.path.strip("/")):
        raise ValueError("names a database that is no number: end it with /0")
