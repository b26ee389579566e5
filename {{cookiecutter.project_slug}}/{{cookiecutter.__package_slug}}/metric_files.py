"""Lets the processes of a service count together: in files, which whoever is asked adds up."""

import atexit
import fcntl
import itertools
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .settings import settings

PREFIX = "{{ cookiecutter.project_slug }}-metrics-"
LOCK = "service.lock"

# Process -> its place among those that count, and the lock that keeps it.
_places: dict[int, tuple[str, int]] = {}


def registry() -> CollectorRegistry:
    """What all of them have counted."""
    found = CollectorRegistry()
    MultiProcessCollector(found)  # type: ignore[no-untyped-call]
    return found


def _place() -> str:
    """A process that ends leaves its place to the next one, which counts on from there."""
    if (pid := os.getpid()) not in _places:
        for _, lock in _places.values():
            os.close(lock)  # It is the parent's.
        _places.clear()
        _places[pid] = next(filter(None, map(_taken, itertools.count())))
        # What was true of the one before only as long as it lived.
        mark_process_dead(_places[pid][0])  # type: ignore[no-untyped-call]
    return _places[pid][0]


def _taken(number: int) -> tuple[str, int] | None:
    lock = os.open(_folder / f"{number}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return str(number), lock


def _made() -> Path:
    """A folder whose lock is held for as long as any process lives that may count there."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(folder / "new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "new").rename(folder / LOCK)
    return folder


def _remove_abandoned() -> None:
    """Who is killed leaves its folder behind."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        # It is in use, somebody else's, or gone by now.
        with suppress(OSError), path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent)


def _remove(owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(_folder, ignore_errors=True)


# Before any metric is made, which chooses then where it counts.
if settings.metrics_port is not None:
    _remove_abandoned()
    _folder = _made()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder)
    atexit.register(_remove, os.getpid())
    values.ValueClass = values.MultiProcessValue(_place)  # type: ignore[no-untyped-call]
