"""What runs when: beat sends these tasks on time."""

from datetime import timedelta
from typing import Any

#{% if cookiecutter.include_examples %}
from celery.schedules import crontab

#{% endif %}
# `expires` stays below the interval: workers that come back after an hour must not find an hour's
# worth of the same task. Times are UTC.
SCHEDULE: dict[str, dict[str, Any]] = {
    # Shows that beat works; delete it together with the job.
    "greet every minute": {
        "task": "hello.greet",
        "schedule": timedelta(minutes=1),
        "args": ("beat",),
        "options": {"expires": 50},
    },
    #{% if cookiecutter.include_examples %}
    "report on yesterday": {
        "task": "reports.daily",
        "schedule": crontab(hour=2, minute=0),
        "options": {"expires": 12 * 60 * 60},
    },
    "clean up what nobody needs any more": {
        "task": "reports.cleanup",
        "schedule": crontab(hour=3, minute=0, day_of_week="sunday"),
        "args": ("staging", 7),
        "options": {"expires": 12 * 60 * 60},
    },
    #{% endif %}
}
