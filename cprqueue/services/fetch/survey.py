"""A job list in a file: one pass finds what it holds, a second one yields each job once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cprqueue.clients.job_list import ANSWER, read_job_list
from cprqueue.domain.mapping import Unread, read_job, read_unread
from cprqueue.domain.models import Job
from cprqueue.errors import UnreadableAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one pass over the file found: the last place of each job id, and what is no job."""

    last_index: dict[int, int]
    unread: tuple[Unread, ...] = ()

    @property
    def skipped(self) -> int:
        """How many items could not be read."""
        return len(self.unread)


NOTHING = Survey(last_index={})
"""Of an answer without any list: only an incremental one may be that."""


def survey_file(
    path: Path, name: str = ANSWER, seen: Callable[[int], None] = lambda _items: None
) -> Survey:
    """Read the file once; items that cannot be read are named, not fatal.

    Errors call the file ``name``; ``seen`` is called with the number of items so far.
    """
    last: dict[int, int] = {}
    unread = []
    for index, item in enumerate(read_job_list(path, name)):
        try:
            last[read_job(item).job_id] = index
        except UnreadableAnswer:
            unread.append(read_unread(item, place=index + 1))
        seen(index + 1)
    if unread and not last:
        raise UnreadableAnswer(f"{name} is a list, but holds no jobs")
    return Survey(last_index=last, unread=tuple(unread))


def require_jobs(survey: Survey, *, complete: bool) -> None:
    """Raise UnreadableAnswer for a complete answer without any job: that is never true."""
    if complete and not survey.last_index:
        raise UnreadableAnswer(
            "RestorationManager's complete answer holds no job at all: nothing was changed"
        )


def each_last(path: Path, survey: Survey) -> Iterator[Job]:
    """Yield each job of a surveyed file once: of doubles the last."""
    desired = set(survey.last_index.values())
    for index, item in enumerate(read_job_list(path) if desired else ()):
        if index in desired:
            yield read_job(item)
