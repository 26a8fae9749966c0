"""Alerts to people through Apprise (mail, chat, SMS): few, and only on a change of state."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)


def is_understood(url: str) -> bool:
    """Tell whether Apprise can make something of the URL; nothing is sent."""
    import apprise

    apprise_log = logging.getLogger("apprise")  # it would log the URL, with its password
    before, apprise_log.disabled = apprise_log.disabled, True
    try:
        return apprise.Apprise.instantiate(url, suppress_exceptions=True) is not None
    finally:
        apprise_log.disabled = before


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
