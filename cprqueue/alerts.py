"""Alerts to people through Apprise (mail, chat, SMS): few, and only on a change of state."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)


def send(urls: Sequence[str], title: str, text: str) -> bool:
    """Send one alert to every URL; an alert that cannot be sent is logged, never raised."""
    if not urls:
        return False
    import apprise  # its hundred services take a while to load, and most processes never alert

    messenger = apprise.Apprise()
    for number, url in enumerate(urls, 1):
        if not messenger.add(url):
            log.error("alert URL not understood", extra={"number_in_ALERT_URLS": number})
    sent = bool(len(messenger) and messenger.notify(body=text, title=f"cprqueue: {title}"))
    if not sent:
        log.error("alert not sent", extra={"title": title})
    return sent
