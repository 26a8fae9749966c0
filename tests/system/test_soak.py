"""A minute of all faults at once; `make soak` has ten of them."""

from __future__ import annotations

import random

import pytest

from tests.tools.soak import Soak


@pytest.mark.timeout(500)
@pytest.mark.xdist_group("soak")
def test_every_job_is_right_after_a_minute_of_all_faults() -> None:
    seed = random.randrange(10_000)
    wrong = Soak(seed, 60, say=print).run()
    assert not wrong, f"make soak SECONDS=60 SEED={seed}\n" + "\n".join(wrong)
