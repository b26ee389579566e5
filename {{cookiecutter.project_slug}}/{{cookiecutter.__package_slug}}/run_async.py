"""Run a coroutine from a task, in any pool, on the one event loop of this process."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _LoopThread(threading.Thread):
    """An event loop that runs until the process ends."""

    def __init__(self) -> None:
        super().__init__(name="run_async", daemon=True)
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_forever()


_lock = threading.Lock()
_thread: _LoopThread | None = None


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Wait for the coroutine's result.

    The loop lives as long as the process, so connection pools opened in one task serve the next.
    `asyncio.run` would close the loop they belong to, and fails outright in some pools.

    Raises:
        RuntimeError: when called from a coroutine that runs here already; await instead.
    """
    thread = _loop_thread()
    if thread.ident == threading.get_ident():
        coroutine.close()
        raise RuntimeError("run_async was called from a coroutine: await it instead")
    future = asyncio.run_coroutine_threadsafe(coroutine, thread.loop)
    try:
        return future.result()
    finally:
        # When a time limit ends the wait, the coroutine must end too. A finished one does not mind.
        future.cancel()


def _loop_thread() -> _LoopThread:
    global _thread
    with _lock:  # tasks that come first at the same time must not start two loops
        if _thread is None:
            started = _LoopThread()
            # Kept only once it runs: on one that does not, every later call would wait for ever.
            started.start()
            _thread = started
        return _thread


def _forget_thread() -> None:
    # A fork copies the loop but not the thread that runs it: a child would wait for ever.
    global _lock, _thread
    _lock, _thread = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_thread)
