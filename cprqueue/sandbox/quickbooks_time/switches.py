"""Every choice that the documentation leaves open, as one typed field with its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the account behaves where the real service's behaviour is not established.

    Each default is the likelier behaviour or, where both are as likely, the one that is
    harder on a client. A switch may be changed at any time; it holds from the next request.
    """

    # Access
    unauthorized_body: Literal["oauth", "error", "html"] = "oauth"
    """What a 401 carries: OAuth's two strings, the API's error object, or no JSON at all."""
    token_lifetime_seconds: float = 864_000
    """How long an access token that is issued from now on lives."""
    grant_grace: float = 0
    """Seconds for which a replaced access token and refresh token still work."""
    refresh_needs_authorization: bool = True
    """A refresh without an Authorization header is a 400."""
    refresh_needs_live_token: bool = False
    """The token in that header must not have expired."""
    grant_accepts_json: bool = True
    """``/grant`` also reads a JSON body."""
    bad_refresh_status: int = 404
    """The status for an unknown refresh token; 400 is the other candidate."""

    # Limits and forced failures
    rate_limit: int = 300
    """Calls for each token in one window."""
    rate_window_seconds: float = 300
    """Length of that window."""
    rate_window: Literal["fixed", "sliding"] = "fixed"
    """Whether the window starts at the first call, or ends at this one."""
    retry_after: bool = False
    """A 429 carries Retry-After, in seconds."""
    force_status: int | None = None
    """Answer every request, ``/grant`` included, with this status; nothing is applied."""
    act_then_status: int | None = None
    """Apply every write, then hide the outcome behind this status."""
    forced_body: Literal["error", "html"] = "error"
    """The body that goes with both."""

    # Requests
    content_type_required: bool = True
    """A POST or PUT without ``Content-Type: application/json`` is a 400."""
    malformed_json_status: int = 400
    """The status for a body that is not JSON."""
    missing_data_status: int = 417
    """The status for a body without a list of items."""
    oversized_applies_first: bool = False
    """More than 50 items still are a 413, but the first 50 are applied."""
    unlisted_method_status: int = 405
    """The status for a method that the path does not have; 501 is the other candidate."""
    bad_limit_status: int = 417
    """The status for a ``limit`` outside 1 to 200; 400 is the other candidate."""
    bad_page_status: int = 417
    """The status for a ``page`` that is negative or not a number."""
    limit_wins: bool = True
    """``limit`` decides where ``per_page`` is given too."""
    strict_filters: bool = False
    """An unknown value of a filter, such as ``active=true``, is a 417, not the default."""
    unknown_parameter_refused: bool = False
    """A parameter that the documentation does not list is a 417, not ignored."""
    unknown_endpoint_refused: bool = True
    """An unknown name in ``last_modified_timestamps?endpoints=`` is a 417, not ignored."""
    since_inclusive: bool = True
    """``modified_since`` includes the very second it names."""
    before_inclusive: bool = False
    """``modified_before`` includes the very second it names."""
    naive_dates_refused: bool = False
    """A date without an offset is a 417, not UTC."""
    spaced_offset_refused: bool = True
    """A ``+`` that was not encoded, and so arrives as a space, is a 417."""
    name_filter_prefix: bool = False
    """A name filter without ``*`` matches every name that starts with it."""
    timesheets_need_range: bool = True
    """Timesheets need ``ids``, ``start_date`` or a modified filter, as documented."""
    user_ids_bug: bool = False
    """Assignments forget the other ``user_ids`` once the token's own user is among them."""

    # Answers
    order: Literal["id", "last_modified", "random"] = "id"
    """The order of rows; ``random`` shuffles the keys inside each page."""
    empty_as_list: bool = True
    """An empty map of results is written ``[]``, not ``{}``."""
    empty_results: Literal["section", "missing", "bare_list"] = "section"
    """With no rows: the empty section, no section, or ``[]`` as the whole body."""
    all_failed_status_417: bool = False
    """A write whose every item failed answers with HTTP 417 instead of 200."""
    duplicate_echo_full: bool = False
    """A 202 shows the whole existing jobcode, with its id, instead of the name alone."""
    failed_update_echoes_id: bool = True
    """A refused item of an update repeats its id."""
    filtered_customfielditems: Literal["text", "object", "list"] = "text"
    """How the empty value of that property is written."""
    geofence_id_zero: bool = False
    """"No geofence" is written 0, not null."""
    assignment_ids_as_text: bool = False
    """The ids in an assignment's write answers are strings."""
    ids_above_2_31: bool = False
    """New ids need more than 32 bits."""

    # Jobcodes
    names_exact: bool = False
    """Names are compared with case."""
    names_trimmed: bool = True
    """Blanks at the ends of a name are cut off."""
    name_length_in_bytes: bool = False
    """The 64 of a name counts UTF-8 bytes, not characters."""
    names_without_accents: bool = False
    """Names are compared without accents, but looked up with them."""
    archived_namesake: Literal["accepted", "twin", "refused"] = "accepted"
    """A create that meets an archived namesake: item 202, a second jobcode, or item 417."""
    other_type_allowed: bool = False
    """A name may exist once for each type under one parent."""
    rename_clash: Literal["refused", "accepted"] = "refused"
    """A rename onto a sibling's name: item 417, or item 202 with nothing changed."""
    read_only_refused: Literal["all", "geofence_only"] = "all"
    """Which properties that cannot be written are refused; the others are ignored."""
    read_only_echo_ignored: bool = False
    """Sending a read-only property with the value it already has is not refused."""
    unknown_id_code: int = 417
    """The item code for an update of an id that does not exist."""
    not_modified_moves_last_modified: bool = False
    """An update that changes nothing still moves ``last_modified``."""
    archived_edit_accepted: bool = False
    """An archived object can be edited without restoring it."""
    archived_parent_accepted: bool = False
    """A jobcode may be put under an archived parent."""
    archive_keeps_assigned_to_all: bool = False
    """``assigned_to_all`` survives archiving."""
    archive_drops_links: bool = False
    """Archiving a jobcode unlinks its locations."""
    has_children_counts_archived: bool = False
    """``has_children`` is true for archived children too."""

    # Locations
    geocode_seconds: float = 60
    """How long after a write the coordinates appear."""
    geocode_moves_last_modified: bool = True
    """Their appearance is a modification."""
    link_archived_accepted: bool = False
    """A location can be linked to an archived jobcode."""
    linking_moves_jobcode: bool = False
    """Linking a location is a modification of the jobcode."""
    unknown_location_field_refused: bool = True
    """A property that a location does not have is an item 417, not ignored."""
    zip_as_number: bool = True
    """In the supplemental data of jobcodes, a zip of digits alone is a number."""

    # The company
    admin: bool = True
    """The token's user is an administrator."""
    manage_jobcodes: bool = False
    """The token's user may manage jobcodes."""
    manage_users: bool = False
    """The token's user may manage users, and so assignments."""
    quickbooks_installed: bool = False
    """The company is connected with QuickBooks Online."""
    two_way_sync: bool = False
    """That connection allows ``connect_with_quickbooks``."""
    dialin_installed: bool = False
    """The Dial-in add-on is installed: short codes are digits alone."""
    max_jobcodes: int = -1
    """How many active jobcodes the company may have; -1 is no limit."""

    def update(self, mapping: Mapping[str, Any]) -> None:
        """Set switches by name: all of them, or none.

        Raises ValueError, with one line for a person, for an unknown name or a value of the
        wrong type.
        """
        hints = get_type_hints(type(self))
        names = {each.name for each in fields(self)}
        for name, value in mapping.items():
            if name not in names:
                raise ValueError(f"there is no switch {name!r}")
            if not _fits(value, hints[name]):
                raise ValueError(f"switch {name!r} takes {_words(hints[name])}, not {value!r}")
        for name, value in mapping.items():
            setattr(self, name, value)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) in (UnionType, Union):
        return any(_fits(value, each) for each in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_words(each) for each in get_args(hint))
    names = {bool: "true or false", int: "a whole number", float: "a number", NoneType: "null"}
    return names[hint]
