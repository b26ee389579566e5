"""The shared folder that jobs read from and write to, by names relative to it."""

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
def replacing(name: str) -> Iterator[Path]:
    """A path to write to that takes the file's place when the block ends well.

    A job that is killed half-way leaves the old file, or none, but never half a file.
    """
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(unfinished)
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
