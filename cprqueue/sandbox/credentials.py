"""What opens the sandbox's two services, and the settings that point cprqueue at them."""

from __future__ import annotations

RM_USERNAME = "sandbox"
RM_PASSWORD = "it's \\ sandbox"  # a quote and a backslash: a login that pastes it in raw fails here
RM_API_SECRET = "00000000-0000-4000-8000-000000000000"

QBT_ACCESS_TOKEN = "sandbox-token"
QBT_CLIENT_ID = "sandbox-client"
QBT_CLIENT_SECRET = "sandbox-secret"
QBT_REFRESH_TOKEN = "sandbox-refresh"


def environment(url: str) -> dict[str, str]:
    """Return the environment variables that point a cprqueue at the sandbox at ``url``."""
    base = url.rstrip("/")
    return {
        "RM_BASE_URL": base,
        "RM_USERNAME": RM_USERNAME,
        "RM_PASSWORD": RM_PASSWORD,
        "RM_API_SECRET": RM_API_SECRET,
        "RM_SITE_IDS": "",
        "RM_ACTIVE_STATUSES": "Active",
        "RM_INACTIVE_PROGRESS": "Lost Lead;Paid in Full - File Closed",
        "RM_EXCLUDED_JOB_NUMBERS": "LAX-UNALLOCATED JC",
        "QBT_BASE_URL": f"{base}/api/v1",
        "QBT_ACCESS_TOKEN": QBT_ACCESS_TOKEN,
        "QBT_CLIENT_ID": QBT_CLIENT_ID,
        "QBT_CLIENT_SECRET": QBT_CLIENT_SECRET,
        "QBT_REFRESH_TOKEN": QBT_REFRESH_TOKEN,
    }
