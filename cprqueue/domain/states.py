"""Pure: the words that a column may hold.

Their texts are on record in every database, so they never change without a migration.
"""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """What a run is at; ``recording``: a fetch whose messages are out."""

    QUEUED = "queued"
    RUNNING = "running"
    RECORDING = "recording"
    APPROVED = "approved"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    STOPPED = "stopped"


class RunKind(StrEnum):
    """What a run does."""

    FETCH = "fetch"
    IMPORT = "import"
    RESYNC = "resync"
    SNAPSHOT = "snapshot"
    PRUNE = "prune"
    REMOVE_ALL = "remove_all"
    UNDO = "undo"


class LinkState(StrEnum):
    """Whether a job is to be pushed; ``held``: a person decides; ``idle``: it is not active."""

    DUE = "due"
    IN_SYNC = "in_sync"
    PARKED = "parked"
    HELD = "held"
    IDLE = "idle"


class VerificationKind(StrEnum):
    """What to read back before the next write.

    What changed since the intent, or everything of the job. ``required`` is ``full`` that was
    asked for by somebody without the lease: only a later claim clears it, never the holder of
    the present lease, who may have read before it was asked for.
    """

    CHANGES = "changes"
    FULL = "whole"
    REQUIRED = "required"


class Intent(StrEnum):
    """A write request that is, or was, about to be sent."""

    CREATE_JOBCODE = "create_jobcode"
    CHANGE_JOBCODE = "change_jobcode"
    CREATE_LOCATION = "create_location"
    CHANGE_LOCATION = "change_location"


class Outcome(StrEnum):
    """What came of an item of a plan."""

    PLANNED = "planned"
    SENDING = "sending"
    ARCHIVED = "archived"
    RESTORING = "restoring"
    RESTORED = "restored"
    HELD_BACK = "held_back"
    DROPPED = "dropped"
    FAILED = "failed"


class ErrorCode(StrEnum):
    """Why a push did not succeed; ``refused`` and ``item_answered`` build the others."""

    NAME_TOO_LONG = "name_too_long"
    DOUBLED_NUMBER = "doubled_number"
    CONFLICT = "conflict"
    WAITING = "waiting"
    HELD = "held"
    DISMISSED = "dismissed"
    NO_ANSWER = "no_answer"


REFUSED = "refused_"


def refused(status: int) -> str:
    """Return the error code of an item that was refused for good."""
    return f"{REFUSED}{status}"


def item_answered(status: int) -> str:
    """Return the error code of an item that may be sent again."""
    return f"item_{status}"
