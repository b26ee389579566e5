"""The work itself: plain functions that know no task queue, so anything may call them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """What a job yields on its way; what it returns is its result."""

    done: int
    total: int
    note: str = ""
