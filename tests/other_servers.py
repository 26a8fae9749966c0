"""Servers that a test can only use where somebody started them; ``.ci/run`` does."""

from __future__ import annotations

import os

import pytest


def url_of(variable: str) -> str:
    """Return the server's URL; skip the test where there is none, but never in our CI."""
    url = os.environ.get(variable, "")
    if not url and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{variable} is not set: CI runs these tests through .ci/run")
    if not url:
        pytest.skip(f"{variable} is not set: .ci/run starts a server and sets it")
    return url
