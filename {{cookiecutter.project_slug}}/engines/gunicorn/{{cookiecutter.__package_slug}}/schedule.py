"""What runs when."""

from datetime import timedelta

from .dirty.scheduler import Scheduled

SCHEDULE = {
    # Shows that the schedule works; delete it together with the job.
    "greet every minute": Scheduled(
        "hello.greet", timedelta(minutes=1), expires=50, arguments={"name": "the schedule"}
    ),
    #{% if cookiecutter.include_examples %}
    "report on yesterday": Scheduled("reports.daily", "0 2 * * *", expires=12 * 60 * 60),
    "clean up what nobody needs any more": Scheduled(
        "reports.cleanup",
        "0 3 * * sun",
        expires=12 * 60 * 60,
        arguments={"folder": "staging", "max_age_days": 7},
    ),
    #{% endif %}
}
