"""Whether anything of this installation runs, for commands that need the database to themselves."""

from __future__ import annotations

from cprqueue import config
from cprqueue.errors import AlreadyRunning, SettingsError, UsageError
from cprqueue.operating import broker_state
from cprqueue.runtime import programs


def raise_if_running(settings: config.Settings) -> None:
    """Raise UsageError while anything of this installation runs, as far as can be seen."""
    for program in ("beat", "broker"):
        lock = settings.var_dir / program / "lock"
        try:
            if lock.exists():
                programs.raise_if_locked(lock)
        except AlreadyRunning as error:
            raise UsageError(str(error)) from None
    broker = broker_state.ask()
    if broker.workers:
        raise UsageError(f"these workers are running: {', '.join(broker.workers)}: stop them first")
    if broker.problem and not settings.broker_is_embedded:
        raise SettingsError(f"whether workers run cannot be seen: {broker.problem}")
