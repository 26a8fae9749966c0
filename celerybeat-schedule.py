"""The timetable, and nothing else. Edit it and restart beat.

Times are in CPR_TIMEZONE. ``expires``: the seconds in which a worker is to take an order; of those
that piled up while no worker did, one is carried out (by the database's clock). A missed month is
caught up: the database knows which month was done, and the daily entry asks for whatever is owed.

Both ``celery -A cprqueue beat`` and ``celery -A celerybeat-schedule beat`` use it.
"""

from celery.schedules import crontab

from cprqueue.celery import app

MINUTE = 60

app.conf.beat_schedule = {
    "fetch changed jobs every 5 minutes": {
        "task": "cpr.fetch_jobs",
        "schedule": 5 * MINUTE,
        "options": {"expires": 4 * MINUTE},
    },
    "fetch all jobs every night": {
        "task": "cpr.fetch_jobs",
        "schedule": crontab(hour=2, minute=10),
        "kwargs": {"full": True},
        "options": {"expires": 60 * MINUTE},
    },
    "send wake-ups for whatever is due": {
        "task": "cpr.sweep",
        "schedule": 1 * MINUTE,
        "options": {"expires": 50},
    },
    "snapshot and prune every month": {
        "task": "cpr.snapshot_and_prune",
        "schedule": crontab(day_of_month=1, hour=3, minute=30),
        "options": {"expires": 12 * 60 * MINUTE},
    },
    "catch up a missed month": {
        "task": "cpr.snapshot_and_prune",
        "schedule": crontab(hour=4, minute=30),
        "options": {"expires": 12 * 60 * MINUTE},
    },
    "ask every night which addresses were not placed": {
        "task": "cpr.read_geocoding",
        "schedule": crontab(hour=5, minute=10),
        "options": {"expires": 60 * MINUTE},
    },
}
