"""However many beats run, each task is sent once, also when one takes the place of another."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from {{ cookiecutter.__package_slug }} import beat
from {{ cookiecutter.__package_slug }}.beat import TRY_AGAIN_AFTER, Scheduler


class Beat(Scheduler):
    """Notes what it sends."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[str] = []
        self.failures: list[Exception] = []
        app = Celery(broker="memory://", set_as_current=False)
        app.conf.beat_sync_every = 1
        app.conf.beat_schedule = {"every hour": {"task": "tick", "schedule": timedelta(hours=1)}}
        super().__init__(app=app, schedule_filename=str(folder / "beat"))

    def send_task(self, *args: Any, **options: Any) -> None:
        if self.failures:
            raise self.failures.pop()
        self.sent.append(args[0])

    def make_due(self) -> None:
        self.tick()
        entry: Any = self.schedule["every hour"]
        entry.last_run_at -= timedelta(hours=2)
        self._heap = None

    def be_killed(self) -> None:
        """Lose what the system takes from a process that ends."""
        self._store.close()
        os.close(vars(self)["_lock"])


class FullDisk(dict[bytes, bytes]):
    """A file that can be read."""

    def __setitem__(self, key: bytes, value: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def test_what_becomes_due_while_the_broker_is_away_is_sent_later(
    first: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat, "TRY_AGAIN_AFTER", 0.01)
    first.failures = [OperationalError("away"), OperationalError("away")]
    first.make_due()
    first.tick()

    assert first.sent == ["tick", "tick"]


def test_a_task_that_cannot_be_sent_does_not_hold_up_the_others(first: Beat) -> None:
    first.failures = [ValueError("no such queue")]
    first.make_due()
    first.tick()

    assert first.sent == ["tick"]


def test_a_clock_that_is_set_back_does_not_silence_it(first: Beat) -> None:
    entry: Any = first.schedule["every hour"]
    entry.last_run_at += timedelta(days=1)
    first.populate_heap()
    first.tick()

    in_an_hour = time.time() + timedelta(hours=1).total_seconds()
    assert vars(first)["_heap"][0].time <= in_an_hour
    assert entry.is_due().next <= timedelta(hours=1).total_seconds()


def test_a_full_disk_neither_stops_it_nor_has_it_repeat_itself(first: Beat, tmp_path: Path) -> None:
    first.make_due()
    first.sync()
    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(first._store, "dict", FullDisk(first._store.dict))
        for _ in range(3):
            first.tick()
        assert first.sent == ["tick", "tick"]

    first.sync()
    first.be_killed()
    with closing(Beat(tmp_path)) as second:
        second.tick()
    assert second.sent == []


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
