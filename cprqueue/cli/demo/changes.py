"""What happens in RestorationManager between the demo's two syncs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from cprqueue.sandbox import dataset
from cprqueue.sandbox.dataset import FIRST_PLAIN_ID, Job, is_active

BATCH = 50  # objects in one write request of QuickBooks Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """RM jobs as they are to become, by what happens to them."""

    new: list[Job]
    renamed: list[Job]
    moved: list[Job]
    closed: list[Job]

    def all(self) -> list[Job]:
        """Return everything to put into RM."""
        return [*self.new, *self.renamed, *self.moved, *self.closed]

    def least_calls(self) -> int:
        """Return with how few calls they can be pushed; a closed job costs none."""
        return 2 * batches(len(self.new)) + batches(len(self.renamed)) + batches(len(self.moved))


def batches(number: int) -> int:
    """Return how many requests so many objects need."""
    return math.ceil(number / BATCH)


def invent(jobs: list[Job], rng: random.Random) -> Changes:
    """Choose from ``jobs``, the ones that the sandbox was started with."""
    share = min(1.0, len(jobs) / 400)
    plain = [job for job in jobs if job["jobId"] >= FIRST_PLAIN_ID and is_active(job)]
    rng.shuffle(plain)
    renamed, moved, closed = (_take(plain, math.ceil(n * share)) for n in (12, 10, 15))
    more = dataset.make_jobs(len(jobs) + 100)[len(jobs) :]
    return Changes(
        new=[job for job in more if is_active(job)][: math.ceil(20 * share)],
        renamed=[job | {"jobJobId": f"{job['jobJobId']}-B"} for job in renamed],
        moved=[job | {"jobAddress1": f"{job['jobId']} New Harbour Rd"} for job in moved],
        closed=[job | {"jobProgress": dataset.CLOSED} for job in closed],
    )


def _take(jobs: list[Job], number: int) -> list[Job]:
    taken = jobs[:number]
    del jobs[:number]
    return taken
