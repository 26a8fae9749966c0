"""What ``check`` checks: the parts of an application, and its broker."""

from __future__ import annotations

from collections.abc import Iterator

from cprqueue.bootstrap import Application
from cprqueue.errors import ServiceUnreachable
from cprqueue.services.reports.checkup import Parts
from cprqueue.services.reports.findings import Finding


def parts(app: Application) -> Parts:
    """Return what of the application is checked."""
    return Parts(
        db=lambda: app.db,
        rm=lambda: app.rm,
        qbt=lambda has_tables: app.qbt(urgent=True) if has_tables else app.qbt_before_tables(),
        token=lambda: app.token,
        broker_problem=_broker_problem,
        broker=_broker,
    )


def _broker() -> Iterator[Finding]:
    from cprqueue.operating import broker_checks  # which imports Celery's app: slow

    return broker_checks.findings()


def _broker_problem() -> str:
    from cprqueue.operating import broker_state

    try:
        with broker_state.connection():
            return ""
    except ServiceUnreachable as error:
        return str(error)
