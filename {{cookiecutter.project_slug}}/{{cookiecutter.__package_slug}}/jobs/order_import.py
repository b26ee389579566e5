"""Write staged orders into the database, batch by batch."""

from typing import TypedDict, cast

import polars as pl

from ..database import session
from ..storage import path_of
from .orders import NewOrder, insert_new

# Rows in one statement. PostgreSQL takes 65,535 parameters in one, SQLite 32,766.
BATCH = 5_000


class Imported(TypedDict):
    seen: int
    new: int


async def run(staged: str) -> Imported:
    """Import what `etl.transform` staged; a second run finds nothing new."""
    imported: Imported = {"seen": 0, "new": 0}
    orders = pl.read_parquet(path_of(staged), columns=list(NewOrder.__annotations__))
    for batch in orders.iter_slices(BATCH):
        async with session() as unit_of_work:
            rows = cast(list[NewOrder], batch.to_dicts())
            imported["new"] += await insert_new(unit_of_work, rows)
        imported["seen"] += batch.height
    return imported
