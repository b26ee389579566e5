"""The cache for jobs: in memory on a laptop, in Redis for all processes by CACHE_URL."""

import os
from collections.abc import Awaitable, Callable
from functools import cache as once
from typing import Any, TypeVar

from aiocache import Cache
from aiocache.serializers import JsonSerializer

from .settings import settings

Value = TypeVar("Value")


@once
def cache() -> Any:
    """The cache of this process. Its methods are coroutines: a call without `await` does nothing."""
    configured = Cache.from_url(settings.cache_url)
    # The same values go in and come out wherever the cache is.
    configured.serializer = JsonSerializer()
    return configured


if hasattr(os, "register_at_fork"):
    # Two processes that talk over one connection get each other's answers.
    os.register_at_fork(after_in_child=cache.cache_clear)


async def remember(key: str, seconds: float, compute: Callable[[], Awaitable[Value]]) -> Value:
    """The value under the key, computed at most once in so many seconds. It must be JSON."""
    found: Value | None = await cache().get(key)
    if found is None:
        found = await compute()
        await cache().set(key, found, ttl=seconds)
    return found
