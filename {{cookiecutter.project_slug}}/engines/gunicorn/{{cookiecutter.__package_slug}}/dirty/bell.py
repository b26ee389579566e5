"""Wakes other processes of this host, so that none has to look again and again for what is new."""

import itertools
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_numbers = itertools.count()


class Bell:
    """What a process hears when somebody rings. It may miss that, so it must look now and then."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.{os.getpid()}-{next(_numbers)}"
        # Who rings takes one that nobody hears for a leftover, so it is shown when it is open.
        hidden = folder / f".{self._path.name}"
        for path in (self._path, hidden):
            path.unlink(missing_ok=True)
        # Not a socket, whose path may have a hundred bytes at most.
        os.mkfifo(hidden, 0o600)
        self._heard = os.open(hidden, os.O_RDONLY | os.O_NONBLOCK)
        # Without anybody who could ring it would be at its end, which sounds like ringing.
        self._held = os.open(hidden, os.O_WRONLY | os.O_NONBLOCK)
        hidden.rename(self._path)
        self._poll = select.poll()
        self._poll.register(self._heard, select.POLLIN)

    def fileno(self) -> int:
        return self._heard

    def wait(self, timeout: float) -> None:
        """Until somebody rings, or so many seconds."""
        self._poll.poll(timeout * 1000)
        self.hush()

    def hush(self) -> None:
        """However often it was rung, it was heard once."""
        with suppress(BlockingIOError):
            while os.read(self._heard, 4096):
                pass

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._held)
        os.close(self._heard)


def ring(folder: Path, name: str) -> None:
    """Wake all who listen under this name. Waits for nobody."""
    for _, bell in _open_bells(folder, name):
        # Who has not heard so many rings yet will look all the same.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(bell, b"!")


def listening(folder: Path, name: str) -> list[int]:
    """The processes that do, under this name."""
    names = [path.name for path, _ in _open_bells(folder, name)]
    return sorted(int(name.rpartition(".")[2].partition("-")[0]) for name in names)


def _open_bells(folder: Path, name: str) -> Iterator[tuple[Path, int]]:
    for path in folder.glob(f"{name}.*"):
        try:
            bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        # Who listened there has gone, or was killed.
        except OSError:
            path.unlink(missing_ok=True)
            continue
        try:
            yield path, bell
        finally:
            os.close(bell)
