"""A server that answers each request after a while, and counts how many wait at a time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .subjects.workload import WAIT


class Server:
    port = 0
    most_at_once = 0
    _waiting = 0

    async def answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._waiting += 1
        self.most_at_once = max(self.most_at_once, self._waiting)
        await asyncio.sleep(WAIT)
        self._waiting -= 1
        writer.write(b"done")
        writer.close()


@contextmanager
def running_server() -> Iterator[Server]:
    server, loop, listens = Server(), asyncio.new_event_loop(), threading.Event()

    async def listen() -> None:
        listener = await asyncio.start_server(server.answer, "127.0.0.1", backlog=1000)
        server.port = listener.sockets[0].getsockname()[1]
        listens.set()

    async def finish() -> None:
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    loop.create_task(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        if not listens.wait(10):
            raise TimeoutError("The server that jobs ask does not listen")
        yield server
    finally:
        # Those whose caller was killed answer all the same.
        asyncio.run_coroutine_threadsafe(finish(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
