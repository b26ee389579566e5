"""The service as gunicorn.conf.py has it, and the tasks of the tests."""

import os
import runpy
import time
from pathlib import Path

import trial_tasks

from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.schedule import SCHEDULE

globals().update(runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py")))
# Processes that it forks know them, too.
assert trial_tasks
# A job that comes by itself, at whatever moment, would be taken for one of a test.
SCHEDULE.clear()

greet = hello.greet


def greet_slowly(name: str) -> str:
    time.sleep(float(os.environ.get("TRIAL_SECONDS", "0")))
    return greet(name)


hello.greet = greet_slowly
