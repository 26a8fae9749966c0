"""A write under a lease leaves only while the lease stands for the whole request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from cprqueue.clients.fence import Fence, boot_seconds
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.clients.transport import Transport
from cprqueue.domain.models import Json
from cprqueue.errors import LeaseExpired
from cprqueue.sandbox.server import Sandbox

ITEMS: list[dict[str, Json]] = [{"id": 1, "name": "A-1"}]
WRITES: list[Callable[[QuickBooksTime, Fence], object]] = [
    lambda qbt, fence: qbt.create_jobcodes(ITEMS, fence),
    lambda qbt, fence: qbt.change_jobcodes(ITEMS, fence),
    lambda qbt, fence: qbt.create_locations(ITEMS, fence),
    lambda qbt, fence: qbt.change_locations(ITEMS, fence),
    lambda qbt, fence: qbt.assign(ITEMS, fence),
]


class Lease:
    """A lease whose time passes where the test says so."""

    def __init__(self) -> None:
        self.fence = Fence(until=boot_seconds() + 1000, needed=10)
        self.renewed: list[str] = []

    def pass_by(self) -> None:
        object.__setattr__(self.fence, "until", boot_seconds() + 5)

    def renew(self, _token: str) -> str:
        self.pass_by()
        return "sandbox-token"

    @contextmanager
    def wait_for_a_call(self) -> Iterator[None]:
        self.pass_by()
        yield


@pytest.fixture
def transport(sandbox: Sandbox) -> Iterator[Transport]:
    made = Transport("QuickBooks Time", sandbox.qbt_url)
    yield made
    made.close()


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_sent_when_the_lease_is_nearly_over_once_a_call_is_free(
    sandbox: Sandbox, transport: Transport, write: Callable[[QuickBooksTime, Fence], object]
) -> None:
    lease = Lease()
    qbt = QuickBooksTime(
        transport, token=lambda: "sandbox-token", renew=str, spend=lease.wait_for_a_call
    )
    with pytest.raises(LeaseExpired):
        write(qbt, lease.fence)
    assert sandbox.calls == []


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_sent_again_when_the_lease_is_nearly_over_once_the_token_is_renewed(
    sandbox: Sandbox, transport: Transport, write: Callable[[QuickBooksTime, Fence], object]
) -> None:
    lease = Lease()

    @contextmanager
    def spend() -> Iterator[None]:
        yield

    qbt = QuickBooksTime(transport, token=lambda: "stale", renew=lease.renew, spend=spend)
    with pytest.raises(LeaseExpired):
        write(qbt, lease.fence)
    assert [call.status for call in sandbox.calls] == [401]


def test_a_fence_stands_for_one_whole_request() -> None:
    before = boot_seconds()
    fence = Fence.of(before, timedelta(seconds=90))
    assert (fence.until, fence.needed) == (before + 90, 75)
    assert Fence.of(before, timedelta(seconds=1)).needed == 0.5
    fence.check()
    with pytest.raises(LeaseExpired):
        Fence.of(before - 16, timedelta(seconds=90)).check()
