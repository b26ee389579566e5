"""Tasks that do what tests need: they last, hang, die, or come too fast."""

import os
import re
import time
from collections.abc import Generator
from pathlib import Path

from {{ cookiecutter.__package_slug }}.dirty import shared_task
from {{ cookiecutter.__package_slug }}.dirty.consumer import SoftTimeLimitExceeded
from {{ cookiecutter.__package_slug }}.jobs import Progress
from {{ cookiecutter.__package_slug }}.progress import publish


@shared_task(name="trial.last", time_limit=60)
def last(seconds: float, diary: str) -> str:
    """Writes down when it begins and ends."""
    _write(diary, "begins")
    time.sleep(seconds)
    _write(diary, "ends")
    return "done"


@shared_task(name="trial.hold", time_limit=60)
def hold(until: str, diary: str) -> str:
    """The same, for as long as a file is not there."""
    _write(diary, "begins")
    while not Path(until).exists():
        time.sleep(0.01)
    _write(diary, "ends")
    return "done"


def _write(diary: str, line: str) -> None:
    with Path(diary).open("a") as file:
        file.write(f"{line}\n")


@shared_task(name="trial.hang", time_limit=0.5)
def hang() -> None:
    time.sleep(600)


@shared_task(name="trial.hog", time_limit=0.5)
def hog() -> None:
    """Lets no other thread run, for longer than anybody lives."""
    re.match("(a+)+$", "a" * 64 + "b")


# It must have begun by then.
@shared_task(name="trial.tidy_up", soft_time_limit=3, time_limit=60)
def tidy_up() -> str:
    try:
        while True:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "tidied up"


@shared_task(name="trial.die")
def die() -> None:
    os._exit(1)


@shared_task(name="trial.step")
def step(count: int) -> int:
    def steps() -> Generator[Progress, None, int]:
        for done in range(1, count + 1):
            yield Progress(done, count)
        return count

    return publish(steps())
