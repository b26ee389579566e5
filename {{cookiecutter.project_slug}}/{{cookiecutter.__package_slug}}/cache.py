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
    """The cache of this process. Its methods are coroutines: without `await` they do nothing."""
    configured = Cache.from_url(settings.cache_url)
    # The same values go in and come out wherever the cache is.
    configured.serializer = JsonSerializer()
    if settings.cache_url.startswith("redis"):
        # At redis-py's limit of 100 the tasks beyond it fail; one process may run more at a time.
        configured.client.connection_pool.max_connections = configured.pool_max_size or 1000
    return configured


if hasattr(os, "register_at_fork"):
    # Two processes that talk over one connection get each other's answers.
    os.register_at_fork(after_in_child=cache.cache_clear)


async def remember(key: str, seconds: float, compute: Callable[[], Awaitable[Value]]) -> Value:
    """The value under the key, computed anew when it is missing or so many seconds old.

    It must be JSON, and None is never remembered. Callers who miss it together each compute it.
    """
    found: Value | None = await cache().get(key)
    if found is None:
        found = await compute()
        await cache().set(key, found, ttl=seconds)
    return found
