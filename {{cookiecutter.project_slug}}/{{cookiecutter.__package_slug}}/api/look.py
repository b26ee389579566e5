"""What many ask at about the same time is asked once for all of them."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from .publisher import Publisher

Result = TypeVar("Result")


class Look(Generic[Result]):
    """One question, asked once for all who ask at about the same time."""

    def __init__(self, publisher: Publisher, question: Callable[[], Result], fresh: float) -> None:
        """An answer counts for so many seconds."""
        self._publisher, self._question, self._fresh = publisher, question, fresh
        self._asked: asyncio.Task[Result] | None = None
        self._asked_at = float("-inf")

    async def answer(self) -> Result:
        """Raises HTTPException when there is none."""
        if self._asked is None or not self._is_fresh():
            self._asked_at = monotonic()
            self._asked = asyncio.create_task(self._publisher.run(self._question))
        return await asyncio.shield(self._asked)

    def _is_fresh(self) -> bool:
        return monotonic() - self._asked_at <= self._fresh
