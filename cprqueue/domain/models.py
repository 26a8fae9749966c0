"""The values that travel between modules; all frozen, none knows how it is stored or sent."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import TypeAlias, TypeVar

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""Plain data, as JSON knows it."""

T = TypeVar("T")

NAME_LIMIT = 64
"""Longest jobcode name, in characters (QuickBooks Time documentation, "The Jobcode object")."""

KEY_LIMIT = 255
"""Longest name key, in UTF-16 units: what SQL Server counts for its columns."""

BATCH = 50
"""Most objects in one write request (same documentation, "Create Jobcodes": more is a 413)."""

PAGE = 200
"""Most results on one page of a listing (same documentation, "Pagination")."""


def built(kind: Callable[..., T], data: object) -> T:
    """Build a value from the plain data that ``asdict`` once made of it."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind} is built from an object, not from {type(data).__name__}")
    return kind(**data)


INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
"""Characters that nobody sees: zero-width ones, byte order mark, soft hyphen, directions."""


def composed(text: str) -> str:
    """Return ``text`` without invisible characters, each letter as one character (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", INVISIBLE.sub("", text))


def name_key(name: str) -> str:
    """Return the form in which two names count as the same.

    That is without case, extra spaces and invisible characters, and in one composition. How
    QuickBooks Time compares is not documented. This is the widest likely rule, so that two
    names which it might call equal are never sent as two. No key is longer than its column: of
    a longer one the beginning is kept, and a digest in place of the rest.
    """
    key = composed(" ".join(composed(name).split()).casefold())
    if len(key) <= KEY_LIMIT // 2:
        return key
    # As SQL Server counts; what was typed on a command line may hold half characters.
    units = key.encode("utf-16-le", "surrogatepass")
    return key if len(units) <= 2 * KEY_LIMIT else f"{key[:60]}#{hashlib.sha256(units).hexdigest()}"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A postal address, each part trimmed; "" where there is none."""

    addr1: str = ""
    addr2: str = ""
    city: str = ""
    state: str = ""
    zip: str = ""

    def __bool__(self) -> bool:
        return any((self.addr1, self.addr2, self.city, self.state, self.zip))

    def as_dict(self) -> dict[str, str]:
        """Return all five parts under QuickBooks Time's names."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An RM job: only the fields that we use; of some jobs no more than the id is known."""

    job_id: int
    job_number: str = ""
    job_name: str = ""
    site_id: int | None = None
    status: str = ""
    progress: str = ""
    address: Address = Address()

    @property
    def label(self) -> str:
        """What people and logs call this job; never an address."""
        return f"RM job {self.job_id} ({self.job_number or 'no number'})"

    def as_message(self) -> dict[str, Json]:
        """Return plain JSON data for a message."""
        return asdict(self)

    @classmethod
    def from_message(cls, data: Mapping[str, Json]) -> Job:
        """Inverse of ``as_message``."""
        return built(cls, {**data, "address": built(Address, data["address"])})

    def content_hash(self) -> str:
        """Return a digest that changes when any field does."""
        return _digest(self.as_message())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a job is active, and the rule that decided, in words."""

    active: bool
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What QuickBooks Time should hold for an active job."""

    name: str
    address: Address

    def digest(self) -> str:
        """Return a digest that changes when the jobcode or the location would."""
        return _digest(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobcode:
    """A jobcode as QuickBooks Time shows it."""

    id: int
    name: str
    parent_id: int = 0
    type: str = "regular"
    active: bool = True
    assigned_to_all: bool = False
    has_children: bool = False
    short_code: str = ""
    billable: bool = False
    location_ids: tuple[int, ...] = ()
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A location as QuickBooks Time shows it, with the jobcodes it is linked to.

    ``geocoding_status``: whether it found the address on the map; "" where it did not say.
    """

    id: int
    address: Address
    active: bool = True
    jobcode_ids: tuple[int, ...] = ()
    last_modified: datetime | None = None
    geocoding_status: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Spare:
    """A location too many on a jobcode. ``others``: the jobcodes that keep it, if any."""

    location_id: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What QuickBooks Time holds for one job, as far as we know.

    ``location_linked``: our location is active and linked to our jobcode.
    ``spares``: further locations that are linked to the same jobcode.
    """

    jobcode_id: int | None = None
    name: str = ""
    active: bool = False
    assigned_to_all: bool = False
    location_id: int | None = None
    address: Address = Address()
    location_linked: bool = False
    spares: tuple[Spare, ...] = ()

    def without_sharer(self, location_id: int, jobcode_id: int | None) -> Observed:
        """Return this after ``jobcode_id`` left the spare location that it shared with us."""
        spares = (
            Spare(spare.location_id, tuple(o for o in spare.others if o != jobcode_id))
            if spare.location_id == location_id
            else spare
            for spare in self.spares
        )
        return replace(self, spares=tuple(spares))

    def to_json(self) -> str:
        """Return one line of JSON for the database."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Observed:
        """Inverse of ``to_json``; None and "" give an empty value."""
        if not text:
            return cls()
        known = {f.name for f in fields(cls)}
        data = {k: v for k, v in json.loads(text).items() if k in known}
        data["address"] = Address(**data.get("address", {}))
        data["spares"] = tuple(
            Spare(spare["location_id"], tuple(spare["others"])) for spare in data.get("spares", ())
        )
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """The fate of one item of a write request.

    ``id`` is None where the service named none, as it may for a refused or duplicate item.
    """

    code: int
    message: str = ""
    extra: str = ""
    id: int | None = None

    @property
    def done(self) -> bool:
        """True for created and updated; a 202 means "already there" and is not done."""
        return self.code in (200, 201)

    @property
    def exists(self) -> bool:
        """True where a jobcode with this parent, name and type is already there."""
        return self.code == 202

    @property
    def text(self) -> str:
        """The service's own words."""
        return self.extra or self.message or f"code {self.code}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
