"""Extract, transform, load: from a CSV of orders to a table that reports can read."""

from collections.abc import Generator
from pathlib import PurePosixPath
from typing import Literal, TypedDict

import polars as pl

from ..storage import locked, path_of, replacing
from . import Progress

# What a CSV of orders must have.
COLUMNS = {
    "reference": pl.String,
    "customer": pl.String,
    "day": pl.Date,
    "cents": pl.Int64,
}
TABLE = "warehouse/orders.parquet"

Function = Literal["count", "max", "mean", "min", "sum"]


class Loaded(TypedDict):
    table: str
    rows: int


def extract(source: str) -> str:
    """Read a CSV of orders and stage it with its types; returns the staged file's name.

    Raises:
        ValueError: when a column is missing.
        polars.exceptions.ComputeError: when a value is not of its column's type.
    """
    frame = pl.scan_csv(path_of(source), schema_overrides=COLUMNS)
    missing = sorted(COLUMNS.keys() - frame.collect_schema().keys())
    if missing:
        raise ValueError(f"{source} has no column {', '.join(missing)}")
    return _stage(frame.select(list(COLUMNS)), f"staging/{source}.parquet")


def transform(staged: str) -> str:
    """Drop orders that are incomplete, worthless or there twice; returns the staged file's name."""
    frame = pl.scan_parquet(path_of(staged))
    complete = frame.drop_nulls().filter(pl.col("cents") > 0)
    clean = complete.with_columns(pl.col("customer").str.strip_chars().str.to_lowercase())
    cleaned = str(PurePosixPath(staged).with_suffix(".clean.parquet"))
    return _stage(clean.unique("reference", keep="first"), cleaned)


def load(staged: str, table: str = TABLE) -> Loaded:
    """Add staged orders to the table; a reference that is there is replaced, so repeat at will."""
    frame = pl.read_parquet(path_of(staged))
    # Of two that add to the table at once, the later would write over what the other added.
    with locked(table):
        if path_of(table).exists():
            there = pl.read_parquet(path_of(table))
            frame = pl.concat([there, frame]).unique("reference", keep="last")
        with replacing(table) as path:
            frame.sort("reference").write_parquet(path)
    return {"table": table, "rows": frame.height}


def run(source: str, table: str = TABLE) -> Generator[Progress, None, Loaded]:
    """Extract, transform and load in one job."""
    yield Progress(0, 3, "extract")
    extracted = extract(source)
    yield Progress(1, 3, "transform")
    transformed = transform(extracted)
    yield Progress(2, 3, "load")
    return load(transformed, table)


def aggregate(
    group_by: str, column: str, function: Function, table: str = TABLE
) -> dict[str, float]:
    """One figure for each group: aggregate("customer", "cents", "sum")."""
    value = getattr(pl.col(column), function)()
    frame = pl.scan_parquet(path_of(table)).group_by(pl.col(group_by).cast(pl.String)).agg(value)
    return dict(frame.sort(group_by).collect().iter_rows())


def _stage(frame: pl.LazyFrame, name: str) -> str:
    with replacing(name) as path:
        frame.sink_parquet(path)
    return name
