"""Somebody who hears the alerts of an office, as the sweep sends them."""

from __future__ import annotations

from datetime import datetime, timedelta

from cprqueue.domain.alerting import Alert
from cprqueue.services.alerting import Alerting
from tests.office import Office


def by_the_minute(_task: str, since: datetime) -> datetime:
    """Say that everything is ordered every five minutes."""
    return since + timedelta(minutes=15)


class Listener:
    """Hears what is sent to ``url``; while ``deaf`` is not "" nothing gets through."""

    def __init__(self, office: Office, url: str = "json://127.0.0.1/in") -> None:
        self.heard: list[Alert] = []
        self.deaf = ""
        alerting = office.app.alerting
        self.alerting = Alerting(
            db=alerting.db,
            urls=(*alerting.urls, url),
            send=self._take,
            var_dir=alerting.var_dir,
            digest_at=alerting.digest_at,
            timezone=alerting.timezone,
        )

    def _take(self, _url: str, alert: Alert) -> str:
        if not self.deaf:
            self.heard.append(alert)
        return self.deaf

    def titles(self) -> list[str]:
        """Do one round; return the titles of all that was heard so far."""
        self.alerting.tell(by_the_minute)
        return [alert.title for alert in self.heard]
