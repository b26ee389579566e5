"""Wakes other processes of this host, so that none has to look again and again for what is new."""

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_numbers = itertools.count()


class Bell:
    """What a process hears when somebody rings. It may miss that, so it must look now and then."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.{os.getpid()}-{next(_numbers)}"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait(self, timeout: float) -> None:
        """Until somebody rings, or so many seconds."""
        self._socket.settimeout(timeout)
        with suppress(TimeoutError):
            self._socket.recv(1)
        self.hush()

    def hush(self) -> None:
        """However often it was rung, it was heard once."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def ring(folder: Path, name: str) -> None:
    """Wake all who listen under this name. Waits for nobody."""
    for listener in _listeners(folder, name):
        # Who has not heard the last ring yet will look all the same.
        with suppress(BlockingIOError, ConnectionRefusedError):
            listener.send(b"!")


def listening(folder: Path, name: str) -> list[int]:
    """The processes that do, under this name."""
    paths = [str(listener.getpeername()) for listener in _listeners(folder, name)]
    return sorted(int(path.rpartition(".")[2].partition("-")[0]) for path in paths)


def _listeners(folder: Path, name: str) -> Iterator[socket.socket]:
    for path in folder.glob(f"{name}.*"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)
            try:
                connection.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                # Who listened there was killed.
                path.unlink(missing_ok=True)
            else:
                yield connection
