"""Print docker-compose.yml as docker/try.sh runs it: ``try_compose.py FILE NAMESPACE PROFILE...``.

Of the services only those of the profiles, all in one network namespace, which also has the
sandbox: that serves without https, on loopback alone, and nothing of it reaches the machine.
The script starts what others wait for: podman-compose would run ``migrate`` for each of them, and
does not know ``required: false``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml


def prepared(compose: dict[str, Any], namespace: str, profiles: set[str]) -> dict[str, Any]:
    """Return the compose file for podman-compose."""
    chosen = {
        name: service
        for name, service in compose["services"].items()
        if profiles & set(service["profiles"])
    }
    for service in chosen.values():
        service.pop("depends_on", None)
        service["network_mode"] = f"ns:{namespace}"
        del service["profiles"]
        service.pop("ports", None)
    return {**compose, "services": chosen}


if __name__ == "__main__":
    source = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    made = prepared(source, sys.argv[2], set(sys.argv[3:]))
    yaml.safe_dump(made, sys.stdout, sort_keys=False)
