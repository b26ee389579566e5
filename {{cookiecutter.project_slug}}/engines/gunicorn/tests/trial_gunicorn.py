"""The service as gunicorn.conf.py has it, and the tasks of the tests."""

import runpy
from pathlib import Path

import trial_tasks

globals().update(runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py")))
# Processes that it forks know them, too.
assert trial_tasks
