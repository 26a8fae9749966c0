"""The token's own user, and the settings that hold for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.query import Query, body
from cprqueue.sandbox.quickbooks_time.values import stamp
from cprqueue.sandbox.quickbooks_time.views import Views

_NEVER = "2001-01-01T12:00:00+00:00"


@dataclass(slots=True)
class People:
    """Answers about the user and the settings."""

    company: Company
    views: Views

    def current_user(self, query: Query) -> Any:
        """Return the token's own user, with permissions."""
        key, row = next(iter(self.company.users.items()))
        switches = self.company.switches
        rights = {
            "mobile": True,
            "reports": False,
            "manage_timesheets": False,
            "admin": switches.admin,
            "manage_jobcodes": switches.manage_jobcodes,
            "manage_users": switches.manage_users,
        }
        shown = {str(key): self.views.user(row) | {"permissions": rights}}
        return body("users", shown, switches, more=False)

    def effective_settings(self, query: Query) -> Any:
        """Return the settings, in the mixed types of the real service."""
        sections = {
            name: {
                "settings": settings,
                "last_modified": stamp(self.company.created) if len(settings) > 1 else _NEVER,
            }
            for name, settings in self._settings().items()
        }
        return body("effective_settings", sections, self.company.switches)

    def _settings(self) -> dict[str, dict[str, Any]]:
        switches = self.company.switches
        quickbooks: dict[str, Any] = {"installed": 0}
        if switches.quickbooks_installed:
            quickbooks = {
                "installed": "1",
                "connector": "qbia_online",
                "two_way_sync_enabled_for_user": 0,
            }
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
            "dialin": {"installed": 0},
            "invoicing": {"installed": 0},
            "mobile_app_integrations": {"installed": 0, "apps": ""},
            "quickbooks": quickbooks,
        }
