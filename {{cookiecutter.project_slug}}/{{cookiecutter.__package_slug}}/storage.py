"""The shared folder that jobs read from and write to, by names relative to it."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import settings


def path_of(name: str) -> Path:
    """Where a file of this name lies.

    Raises:
        ValueError: when the name leads out of the shared folder.
    """
    root = settings.data_dir.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{name!r} leads out of the shared folder DATA_DIR")
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One job at a time, in whichever process: for those that read a file and then replace it.

    The system lets go of the lock when its holder is killed.
    """
    path = path_of(f"{name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(name: str) -> Iterator[Path]:
    """A path to write to that takes the file's place when the block ends well.

    A job that is killed half-way leaves the old file, or none, but never half a file.
    """
    path = path_of(name)
    if path == settings.data_dir.resolve():
        raise ValueError(f"{name!r} names the shared folder DATA_DIR itself")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(unfinished)
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
