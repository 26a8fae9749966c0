"""Every choice that the documentation leaves open, as one typed field with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cprqueue.sandbox.switches import SwitchSet


@dataclass(slots=True, kw_only=True)
class Switches(SwitchSet):
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
    """Apply every write, then answer with this status."""
    forced_body: Literal["error", "html"] = "error"
    """The body that goes with both."""

    # Requests
    strict_filters: bool = False
    """An unknown value of a filter, such as ``active=true``, is a 417, not the default."""
    unknown_parameter_refused: bool = False
    """A parameter that the documentation does not list is a 417, not ignored."""
    since_inclusive: bool = True
    """``modified_since`` includes the very second it names."""
    naive_dates_refused: bool = False
    """A date without an offset is a 417, not UTC."""
    name_filter_prefix: bool = False
    """A name filter without ``*`` matches every name that starts with it."""

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
    rename_clash: Literal["refused", "accepted"] = "refused"
    """A rename onto a sibling's name: item 417, or item 202 with nothing changed."""
    unknown_id_code: int = 417
    """The item code for an update of an id that does not exist."""
    not_modified_moves_last_modified: bool = False
    """An update that changes nothing still moves ``last_modified``."""
    archived_edit_accepted: bool = False
    """An archived object can be edited without restoring it."""
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
    geocoding_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    """The filter ``geocoding_status`` is answered, has no effect, or is a 417."""
    link_archived_accepted: bool = False
    """A location can be linked to an archived jobcode."""
    linking_moves_jobcode: bool = False
    """Linking a location is a modification of the jobcode."""

    # The company
    admin: bool = True
    """The token's user is an administrator."""
    manage_jobcodes: bool = False
    """The token's user may manage jobcodes."""
    manage_users: bool = False
    """The token's user may manage users, and so assignments."""
    quickbooks_installed: bool = False
    """The company is connected with QuickBooks Online."""
    max_jobcodes: int = -1
    """How many active jobcodes the company may have; -1 is no limit."""
