"""What Gunicorn is told at each turn of its life: gunicorn.conf.py takes its hooks from here."""

import os
import signal
import sys
import threading
from typing import Any

from gunicorn.dirty import set_dirty_socket_path
from gunicorn.workers.gasgi import ASGIWorker

from .. import logs
from ..queues import PROCESSES
from ..settings import settings
from . import workers
from .jobs import board

# Seconds between two looks at what a process runs.
LOOK_EVERY = 0.2

APPS = {app.queue: f"{workers.__name__}:{app.__name__}" for app in workers.Worker.__subclasses__()}
SOCKET = str(settings.jobs_dir.resolve() / "arbiter.sock")


class HttpWorker(ASGIWorker):  # type: ignore[misc]
    """Ends those first who watch, and would keep their connections for as long as they like."""

    def handle_exit_signal(self) -> None:
        self.asgi.state.store.end_watching()
        super().handle_exit_signal()


def on_dirty_starting(arbiter: Any) -> None:
    """An arbiter begins, perhaps because the last one was killed, and its workers with it."""
    logs.configure()
    # At a fixed place HTTP workers find the next arbiter, too.
    arbiter.socket_path = SOCKET
    os.environ["GUNICORN_DIRTY_SOCKET"] = SOCKET
    # One app for each process: by itself the arbiter would have the first process load them all.
    arbiter._pending_respawns = [
        [APPS[queue]] for queue, count in PROCESSES.items() for _ in range(count)
    ]
    board().give_back()


def post_fork(server: Any, worker: Any) -> None:
    set_dirty_socket_path(SOCKET)


def dirty_worker_init(worker: Any) -> None:
    end_with_parent()
    threading.Thread(target=_watch, args=(worker, os.getppid()), daemon=True).start()


def dirty_worker_exit(arbiter: Any, worker: Any) -> None:
    """In the arbiter, once the process is gone."""
    board().give_back(worker.pid)


def _watch(worker: Any, parent: int) -> None:
    pause = threading.Event()
    while worker.alive:
        if os.getppid() != parent:
            os._exit(1)
        for app in worker.apps.values():
            app.enforce_limits()
        pause.wait(LOOK_EVERY)
    for app in worker.apps.values():
        app.close()
    # By itself it would wait for its connections, which nobody closes.
    os._exit(0)


if sys.platform == "linux":
    import ctypes

    _LIBC = ctypes.CDLL(None)
    _PR_SET_PDEATHSIG = 1

    def end_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

else:

    def end_with_parent() -> None:
        """Only Linux ends a process together with its parent; the others look, now and then."""
