"""A way to a server that a test can break, or have encrypted."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Seconds for what takes no time.
TIMEOUT = 10
# A close that tells the other end of an error, and sends nothing more.
AT_ONCE = struct.pack("ii", 1, 0)


class Line:
    """A port that leads to a server's own, as long as the test lets it."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server = host, port
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._socket = _bound(0)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator["Line"]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self._flows.set()
            self._wait_for(self._listen())
            yield self
        finally:
            self._wait_for(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(TIMEOUT)
            self._loop.close()

    def reset(self) -> None:
        """Cut every connection. Whoever comes again gets a new one."""
        self._wait_for(self._reset())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut every connection, and refuse new ones until the end of the block."""
        self._wait_for(self._refuse())
        yield
        self._wait_for(self._listen())

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Keep everything back until the end of the block, without a word."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        yield
        self._loop.call_soon_threadsafe(self._flows.set)

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """The same, but what was connected before never hears anything again."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        self._flows = asyncio.Event()
        yield
        self._loop.call_soon_threadsafe(self._flows.set)

    def _wait_for(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._connect, sock=self._socket, ssl=self._tls)

    async def _refuse(self) -> None:
        port = self._socket.getsockname()[1]
        self._listener.close()
        # Held, so that nobody else gets the port meanwhile.
        self._socket = _bound(port)
        await self._reset()

    async def _reset(self) -> None:
        for end in self._ends:
            connection = end.get_extra_info("socket")
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            end.transport.abort()
        self._ends.clear()

    async def _end(self) -> None:
        self._listener.close()
        await self._reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._ends.add(client)
        flows = self._flows
        await flows.wait()
        try:
            answers, server = await asyncio.open_connection(*self._server)
        except OSError:
            client.transport.abort()
            return
        self._ends.add(server)
        # Python 3.11 would log that the end of the test has cancelled them.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(_pass_on(reader, server, flows), _pass_on(answers, client, flows))
        self._ends -= {client, server}


async def _pass_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, flows: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await source.read(2**20):
            await flows.wait()
            target.write(data)
            await target.drain()
    await flows.wait()
    target.close()


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    return found
