"""However many beats run, each task is sent once, also when one takes the place of another."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from {{ cookiecutter.__package_slug }}.beat import TRY_AGAIN_AFTER, Scheduler


class Beat(Scheduler):
    """Notes what it sends."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[str] = []
        app = Celery(broker="memory://", set_as_current=False)
        app.conf.beat_sync_every = 1
        app.conf.beat_schedule = {"every hour": {"task": "tick", "schedule": timedelta(hours=1)}}
        super().__init__(app=app, schedule_filename=str(folder / "beat"))

    def send_task(self, *args: Any, **options: Any) -> None:
        self.sent.append(args[0])

    def make_due(self) -> None:
        self.tick()
        entry: Any = self.schedule["every hour"]
        entry.last_run_at -= timedelta(hours=2)
        self._heap = None

    def be_killed(self) -> None:
        """Lose what the system takes from a process that ends."""
        vars(self)["_store"].close()
        os.close(vars(self)["_lock"])


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Beat]:
    """It has sent the task, which was due."""
    with closing(Beat(tmp_path)) as beat:
        beat.make_due()
        beat.tick()
        assert beat.sent == ["tick"]
        yield beat


def test_a_second_beat_waits(first: Beat, tmp_path: Path) -> None:
    with closing(Beat(tmp_path)) as second:
        assert second.tick() == TRY_AGAIN_AFTER
        first.make_due()
        first.tick()

    assert (first.sent, second.sent) == (["tick", "tick"], [])


def test_the_next_beat_does_not_repeat_what_was_sent(first: Beat, tmp_path: Path) -> None:
    first.be_killed()
    with closing(Beat(tmp_path)) as second:
        assert second.tick() > TRY_AGAIN_AFTER

    assert second.sent == []


def test_the_next_beat_sends_what_became_due_meanwhile(first: Beat, tmp_path: Path) -> None:
    first.make_due()
    first.be_killed()
    with closing(Beat(tmp_path)) as second:
        second.tick()

    assert second.sent == ["tick"]
