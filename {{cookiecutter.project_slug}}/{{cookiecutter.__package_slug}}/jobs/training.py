"""Train a model of what an order costs on which day, and keep it loaded to ask it."""

import json
from collections.abc import Generator, Sequence
from datetime import date
from functools import lru_cache
from typing import TypedDict

import polars as pl

from ..storage import path_of, replacing
from . import Progress
from .etl import TABLE

MODEL = "models/order_cents.json"


class Model(TypedDict):
    """A linear model in plain numbers: a file of these, unlike a pickle, cannot run code."""

    weights: list[float]
    intercept: float


class Trained(TypedDict):
    model: str
    orders: int
    mean_absolute_error: float


def fit(epochs: int = 20, table: str = TABLE) -> Generator[Progress, None, Trained]:
    """Fit by gradient descent, one pass over the orders an epoch.

    Raises:
        ModuleNotFoundError: when scikit-learn is not installed; it is in the group `training`.
    """
    from sklearn.linear_model import SGDRegressor
    from sklearn.metrics import mean_absolute_error

    orders = pl.read_parquet(path_of(table), columns=["day", "cents"])
    features = [_features(day) for day in orders["day"]]
    cents = orders["cents"].to_list()
    regressor = SGDRegressor(random_state=0)
    for epoch in range(1, epochs + 1):
        regressor.partial_fit(features, cents)
        yield Progress(epoch, epochs, f"epoch {epoch}")
    model: Model = {
        "weights": regressor.coef_.tolist(),
        "intercept": float(regressor.intercept_[0]),
    }
    with replacing(MODEL) as path:
        path.write_text(json.dumps(model))
    error = float(mean_absolute_error(cents, regressor.predict(features)))
    return {"model": MODEL, "orders": orders.height, "mean_absolute_error": error}


def predict(day: date) -> float:
    """What an order of this day is likely to cost, in cents.

    Raises:
        FileNotFoundError: when no model has been trained.
    """
    model = _loaded(path_of(MODEL).stat().st_mtime_ns)
    products = zip(model["weights"], _features(day), strict=True)
    return model["intercept"] + sum(weight * feature for weight, feature in products)


@lru_cache(maxsize=1)
def _loaded(changed_at: int) -> Model:
    # Once for each process, and again after a training: the argument tells the files apart.
    model: Model = json.loads(path_of(MODEL).read_text())
    return model


def _features(day: date) -> Sequence[float]:
    return [float(day.weekday() == weekday) for weekday in range(7)]
