"""Users, the token's own user, and the settings that hold for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.query import Query, body, chosen
from cprqueue.sandbox.quickbooks_time.refusals import RequestRefusedError
from cprqueue.sandbox.quickbooks_time.rows import User
from cprqueue.sandbox.quickbooks_time.values import stamp
from cprqueue.sandbox.quickbooks_time.views import Views

_PERMISSIONS = [
    "admin",
    "mobile",
    "status_box",
    "reports",
    "manage_timesheets",
    "manage_authorization",
    "manage_users",
    "manage_my_timesheets",
    "manage_jobcodes",
    "pin_login",
    "approve_timesheets",
    "manage_schedules",
    "external_access",
    "manage_my_schedule",
    "manage_company_schedules",
    "view_company_schedules",
    "view_group_schedules",
    "manage_no_schedules",
    "view_my_schedules",
]
_NEVER = "2001-01-01T12:00:00+00:00"
_DEFAULT_ENDPOINTS = [
    "current_user",
    "customfields",
    "customfielditems",
    "effective_settings",
    "geolocations",
    "jobcodes",
    "jobcode_assignments",
    "timesheets",
    "timesheets_deleted",
    "users",
    "reminders",
    "locations",
    "geofence_configs",
]
_MORE_ENDPOINTS = {"locations_map", "groups", "managed_clients", "projects", "schedule_events"}


@dataclass(slots=True)
class People:
    """Answers about users and settings."""

    company: Company
    views: Views

    def users(self, query: Query, user_id: int) -> Any:
        """Return a page of users."""
        query.refuse_unknown("active", "user_ids")
        active = query.activity()
        rows = (
            row
            for row in chosen(self.company.users, query.ids())
            if active is None or row.active is active
        )
        page, more = query.page(query.modified(rows), self.company.rng)
        shown = {str(row.id): self.shown(row, user_id) for row in page}
        return body("users", shown, self.company.switches, more=more)

    def shown(self, row: User, own_id: int) -> dict[str, Any]:
        """Return a user with permissions; the switches are those of the token's own user."""
        switches = self.company.switches
        rights = dict.fromkeys(_PERMISSIONS, False) | {"mobile": True}
        if row.id == own_id:
            rights |= {
                "admin": switches.admin,
                "manage_jobcodes": switches.manage_jobcodes,
                "manage_users": switches.manage_users,
            }
        return self.views.user(row) | {"permissions": rights}

    def current_user(self, query: Query, user_id: int) -> Any:
        """Return the token's own user."""
        row = self.company.users[user_id]
        shown = {str(row.id): self.shown(row, user_id)}
        return body("users", shown, self.company.switches, more=False)

    def effective_settings(self, query: Query, user_id: int) -> Any:
        """Return the settings, in the mixed types of the real service."""
        wanted = (query.ids("user_id") or [user_id])[0]
        if wanted not in self.company.users:
            raise RequestRefusedError(417, "Invalid value for user_id")
        passes = query.modified_passes()
        sections = {
            name: {
                "settings": settings,
                "last_modified": stamp(self.company.created) if len(settings) > 1 else _NEVER,
            }
            for name, settings in self._settings().items()
            if passes is None or passes(self.company.created)
        }
        return body("effective_settings", sections, self.company.switches)

    def _settings(self) -> dict[str, dict[str, Any]]:
        switches = self.company.switches
        quickbooks: dict[str, Any] = {"installed": 0}
        if switches.quickbooks_installed:
            quickbooks = {
                "installed": "1",
                "connector": "qbia_online",
                "two_way_sync_enabled_for_user": int(switches.two_way_sync),
            }
        dialin: dict[str, Any] = {"installed": 0}
        if switches.dialin_installed:
            dialin = {"installed": "1", "phone_number": ""}
        return {
            "general": {
                "jc_label": "Job",
                "max_jobcodes": str(switches.max_jobcodes),
                "max_customfielditems": "-1",
                "time_format": 12,
                "date_locale": "us",
                "tz": "America/Los_Angeles",
                "week_start": 0,
                "calculate_overtime": "1",
            },
            "alerts": {"installed": 0},
            "approvals": {"installed": 0},
            "dialin": dialin,
            "invoicing": {"installed": 0},
            "mobile_app_integrations": {"installed": 0, "apps": ""},
            "quickbooks": quickbooks,
        }

    def last_modified_timestamps(self, query: Query, user_id: int) -> Any:
        """Return when each endpoint's data last changed."""
        raw = query.given.get("endpoints", "")
        names = [word.strip() for word in raw.split(",") if word.strip()] or _DEFAULT_ENDPOINTS
        known = {*_DEFAULT_ENDPOINTS, *_MORE_ENDPOINTS}
        if self.company.switches.unknown_endpoint_refused and set(names) - known:
            raise RequestRefusedError(417, "Invalid value for endpoints")
        shown = {
            name: stamp(self.company.touched.get(name, self.company.created))
            for name in names
            if name in known
        }
        return body("last_modified_timestamps", shown, self.company.switches)
