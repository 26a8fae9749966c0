"""A minute of all faults at once; `make soak` has ten of them."""

from __future__ import annotations

import pytest

from tests.tools.soak import Soak

SEED = 7
"""One and the same, so that a red test is of the change before it; others: `make soak`."""


@pytest.mark.timeout(500)
def test_every_job_is_right_after_a_minute_of_all_faults() -> None:
    wrong = Soak(SEED, 60, say=print).run()
    assert not wrong, f"make soak SECONDS=60 SEED={SEED}\n" + "\n".join(wrong)
