"""Which queues have a worker, however many workers there are."""

from __future__ import annotations

import pytest

from cprqueue.operating import send


def test_a_worker_that_is_not_among_the_first_to_answer_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues = ["insert"] * 6 + ["maintenance"]

    def served(limit: int | None) -> set[str]:
        return set(queues[:limit])

    monkeypatch.setattr(send, "_served", served)
    send.require_workers(["maintenance"])
