"""Fetch web pages, each at most once in a while."""

import re
from typing import TypedDict

import httpx2

from ..cache import remember

# Seconds for which an answer is good enough for everybody who asks.
MAX_AGE = 60
TIMEOUT = httpx2.Timeout(10)


class Page(TypedDict):
    url: str
    status: int
    size: int
    title: str | None


async def fetch(url: str) -> Page:
    """What a web page is called and how large it is, from the cache when it was asked lately."""
    return await remember(f"page:{url}", MAX_AGE, lambda: _download(url))


async def _download(url: str) -> Page:
    async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client:
        answer = await client.get(url)
    title = re.search("<title>(.*?)</title>", answer.text, re.IGNORECASE | re.DOTALL)
    return {
        "url": url,
        "status": answer.status_code,
        "size": len(answer.content),
        "title": title[1].strip() if title else None,
    }
