"""The schedule: what is due is submitted once, at its time, unless it is too late."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from {{ cookiecutter.__package_slug }}.dirty import scheduler
from {{ cookiecutter.__package_slug }}.dirty.board import Board
from {{ cookiecutter.__package_slug }}.dirty.scheduler import Scheduled, submit_due

Tick = Callable[[float], list[str]]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Scheduled], Tick]:
    """Looks what is due at a moment; what is submitted then."""
    board = Board(tmp_path)

    def of(scheduled: Scheduled) -> Tick:
        def look(now: float) -> list[str]:
            submitted: list[str] = []
            monkeypatch.setattr(scheduler, "submit", lambda task, *_, **__: submitted.append(task))
            monkeypatch.setattr(time, "time", lambda: now)
            submit_due(board, {"it": scheduled})
            return submitted

        return look

    return of


def test_a_line_of_cron_means_what_cron_means() -> None:
    sundays = Scheduled("reports.cleanup", "0 3 * * sun", expires=60)

    assert sundays.latest(at("2026-11-20T12:00")) == at("2026-11-15T03:00")
    assert sundays.latest(at("2026-11-22T03:00")) == at("2026-11-22T03:00")


def test_a_time_span_is_counted_from_the_same_moment_everywhere() -> None:
    hourly = Scheduled("hello.greet", timedelta(hours=1), expires=60)

    assert hourly.latest(at("2026-11-20T12:34")) == at("2026-11-20T12:00")


def test_it_comes_at_its_time_and_once(tick: Callable[[Scheduled], Tick]) -> None:
    look = tick(Scheduled("hello.greet", timedelta(hours=1), expires=600))
    moments = ["11:59:59", "12:00:00", "12:00:01", "12:59:59", "13:00:00"]

    submitted = [len(look(at(f"2026-11-20T{moment}"))) for moment in moments]

    assert submitted == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(("minutes_late", "submitted"), [(9, 1), (11, 0)])
def test_the_last_run_that_was_missed_is_made_up_for_if_it_is_not_too_late(
    tick: Callable[[Scheduled], Tick], minutes_late: int, submitted: int
) -> None:
    look = tick(Scheduled("hello.greet", timedelta(hours=1), expires=600))
    look(at("2026-11-20T08:00"))

    assert len(look(at(f"2026-11-20T12:{minutes_late:02}"))) == submitted
