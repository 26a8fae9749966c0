"""Forty seconds of all faults at once; `make soak` has ten minutes of them."""

from __future__ import annotations

import pytest

from tests.tools.soak import Soak

SECONDS = 40
SEED = 7
"""One and the same, so that a red test is of the change before it; others: `make soak`."""


@pytest.mark.timeout(500)
def test_every_job_is_right_after_all_faults_at_once() -> None:
    wrong = Soak(SEED, SECONDS, say=print).run()
    assert not wrong, f"make soak SECONDS={SECONDS} SEED={SEED}\n" + "\n".join(wrong)
