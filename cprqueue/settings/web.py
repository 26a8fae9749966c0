"""Pure: the settings of the board: who may log in, and how it is reached.

A user is ``NAME:HASH:ROLE``, several are separated by ``;``. `cprqueue web-user` writes one. The
hash holds no ``$``: Docker Compose would read a variable's name there.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from cprqueue.settings import values

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,29}")
SALT_BYTES, KEY_BYTES = 16, 32
MOST_LOG_N, MOST_R, MOST_P = 20, 16, 16  # a gigabyte and more would be somebody's mistake


class Role(StrEnum):
    """What a user may do: a viewer reads, an operator acts too."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """What scrypt made of a password, and how: ``scrypt.LOG_N.R.P.SALT.KEY``."""

    log_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    @classmethod
    def read(cls, text: str) -> Hash:
        """Read what ``text`` wrote. Raises ValueError without saying what stood there."""
        parts = text.split(".")
        numbers = [int(part) for part in parts[1:4] if re.fullmatch("[0-9]{1,2}", part)]
        if len(parts) != 6 or parts[0] != "scrypt" or len(numbers) != 3:
            raise ValueError
        salt, key = _bytes(parts[4]), _bytes(parts[5])
        made = cls(log_n=numbers[0], r=numbers[1], p=numbers[2], salt=salt, key=key)
        fits = 0 < made.log_n <= MOST_LOG_N and 0 < made.r <= MOST_R and 0 < made.p <= MOST_P
        if not fits or len(salt) != SALT_BYTES or len(key) != KEY_BYTES:
            raise ValueError
        return made

    def text(self) -> str:
        """Return it as it stands in CPR_WEB_USERS."""
        return f"scrypt.{self.log_n}.{self.r}.{self.p}.{_text(self.salt)}.{_text(self.key)}"


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError from None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUser:
    """Who may log in to the board."""

    name: str
    hash: Hash = field(repr=False)
    role: Role

    def text(self) -> str:
        """Return the line for CPR_WEB_USERS."""
        return f"{self.name}:{self.hash.text()}:{self.role}"


def users(text: str) -> tuple[WebUser, ...]:
    """Read CPR_WEB_USERS; no message shows what stands there, for it may be a password."""
    found = tuple(_user(number, part) for number, part in enumerate(values.texts(text), 1))
    names = [user.name.casefold() for user in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"has the user {twice} twice: leave one of them")
    return found


def _user(number: int, text: str) -> WebUser:
    name, _, rest = text.partition(":")
    hashed, _, role = rest.partition(":")
    try:
        if not NAME.fullmatch(name):
            raise ValueError
        return WebUser(name=name, hash=Hash.read(hashed), role=Role(role))
    except ValueError:
        raise ValueError(
            f"number {number} is no NAME:HASH:ROLE: let `cprqueue web-user NAME` write it"
        ) from None


def url(text: str) -> str:
    """Read the address under which people reach the board: https, without a path."""
    found = values.service_url(text)
    if urlsplit(found).path:
        raise ValueError("must have no path: the board is at the root of its host")
    return found


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses or networks of proxies."""
    try:
        return tuple(ipaddress.ip_network(part) for part in values.texts(text))
    except ValueError:
        raise ValueError(
            f"is {text!r}: write addresses or networks like 10.0.0.5;172.18.0.0/16"
        ) from None
