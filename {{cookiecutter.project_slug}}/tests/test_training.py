"""The model learns what the orders say, and is loaded again only when it was trained again."""

import itertools
import json
import os
from datetime import date, timedelta

import polars as pl
import pytest

from {{ cookiecutter.__package_slug }}.jobs import Progress, training
from {{ cookiecutter.__package_slug }}.storage import path_of, replacing
from {{ cookiecutter.__package_slug }}.tasks.training import fit, predict

pytestmark = pytest.mark.usefixtures("folder")

pytest.importorskip("sklearn", reason="uv run --group training pytest")

MONDAY, SATURDAY = date(2026, 11, 16), date(2026, 11, 21)


@pytest.fixture
def orders() -> str:
    """Four weeks in which people spend ten times as much on a Saturday."""
    days = [MONDAY + timedelta(days=number) for number in range(28)]
    cents = [1000 if day.weekday() == SATURDAY.weekday() else 100 for day in days]
    with replacing("orders.parquet") as path:
        pl.DataFrame({"day": days, "cents": cents}).write_parquet(path)
    return "orders.parquet"


times = itertools.count(1)


def remember(intercept: float) -> None:
    with replacing(training.MODEL) as path:
        path.write_text(json.dumps({"weights": [0.0] * 7, "intercept": intercept}))
        # Two files of one moment have the same time, and would be taken for one.
        os.utime(path, times=(time := next(times), time))


def test_each_epoch_is_reported(orders: str) -> None:
    assert list(training.fit(2, orders)) == [
        Progress(1, 2, "epoch 1"),
        Progress(2, 2, "epoch 2"),
    ]


@pytest.mark.usefixtures("worker")
def test_worker_learns_what_a_day_costs_and_tells_it(orders: str) -> None:
    trained = fit.delay(200, orders).get(timeout=10, interval=0.01)
    monday, saturday = [
        predict.delay(day.isoformat()).get(timeout=10, interval=0.01) for day in (MONDAY, SATURDAY)
    ]

    assert trained["orders"] == 28
    assert monday < 200
    assert saturday > 700
    assert trained["mean_absolute_error"] < 100


def test_more_epochs_make_a_better_model(orders: str) -> None:
    def error_after(epochs: int) -> float:
        steps = training.fit(epochs, orders)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return float(end.value["mean_absolute_error"])

    assert error_after(20) < error_after(1)


def test_a_model_stays_loaded_until_there_is_a_new_one() -> None:
    remember(intercept=1)
    loads = training._loaded.cache_info().misses
    assert [training.predict(day) for day in (MONDAY, SATURDAY)] == [1, 1]
    assert training._loaded.cache_info().misses == loads + 1

    remember(intercept=2)
    assert training.predict(MONDAY) == 2


def test_a_training_that_fails_leaves_the_model_that_was_there() -> None:
    remember(intercept=1)

    with pytest.raises(FileNotFoundError):
        list(training.fit(1, "missing.parquet"))

    assert training.predict(MONDAY) == 1


def test_a_model_that_nobody_trained_is_missed() -> None:
    with pytest.raises(FileNotFoundError, match=path_of(training.MODEL).name):
        training.predict(MONDAY)
