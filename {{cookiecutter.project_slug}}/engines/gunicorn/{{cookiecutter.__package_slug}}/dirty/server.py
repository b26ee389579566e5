"""What Gunicorn is told at each turn of its life: gunicorn.conf.py takes its hooks from here."""

import fcntl
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gasgi import ASGIWorker

#{% if cookiecutter.include_metrics %}
from .. import logs, metrics
#{% endif %}
#{% if not cookiecutter.include_metrics %}
from .. import logs
#{% endif %}
from ..queues import PROCESSES
from ..schedule import SCHEDULE
from ..settings import settings
from . import workers
from .board import Delivery
from .consumer import TimeLimitExceeded
#{% if cookiecutter.include_metrics %}
from .jobs import board, queue_of, tasks, time_limit
from .measured_board import TICKED
#{% endif %}
#{% if not cookiecutter.include_metrics %}
from .jobs import board, time_limit
#{% endif %}
from .scheduler import submit_due

# Seconds between two looks at what a process runs.
LOOK_EVERY = 0.2
# Seconds between two looks at what is due.
TICK = 1.0
# Seconds after which a process that has not ended a job at its limit is taken for stuck.
STUCK_AFTER = 2.0
# Seconds for which what has ended well is remembered.
KEPT = 24 * 60 * 60

log = structlog.stdlib.get_logger()

APPS = {app.queue: f"{workers.__name__}:{app.__name__}" for app in workers.Worker.__subclasses__()}


class HttpWorker(ASGIWorker):
    """Ends those first who watch, and would keep their connections for as long as they like."""

    def handle_exit_signal(self) -> None:
        self.asgi.state.store.end_watching()  # type: ignore[attr-defined]
        super().handle_exit_signal()


class Logger(GunicornLogger):
    """Leaves Gunicorn's lines to whatever writes all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        logs.configure()
        for own in (self.error_log, self.access_log):
            own.handlers.clear()
            own.propagate = True


def on_starting(server: Any) -> None:
    _be_the_only_one()
    # Whoever comes from a broker expects more, and would miss it late.
    log.info(
        "jobs are kept in a file of this host, so no other host may run them; "
        "there are no workflows, and a job that runs cannot be cancelled",
        folder=str(settings.jobs_dir.resolve()),
        processes={str(queue): count for queue, count in PROCESSES.items()},
    )
    #{% if cookiecutter.include_metrics %}
    for name in tasks():
        metrics.begin(name, queue_of(name))
    #{% endif %}


def _be_the_only_one() -> None:
    """Raises SystemExit when another service has this folder, whose jobs each would take back."""
    settings.jobs_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(settings.jobs_dir / "lock", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"JOBS_DIR={settings.jobs_dir}: another service has it already") from None
    held = [lock]
    # Those that outlive this process by a moment must not keep the next one from starting.
    os.register_at_fork(after_in_child=lambda: os.close(held.pop()) if held else None)


def on_dirty_starting(arbiter: Any) -> None:
    """An arbiter begins, perhaps because the last one was killed, and its workers with it."""
    # One app for each process: by itself the arbiter would have the first process load them all.
    arbiter._pending_respawns = [
        [APPS[queue]] for queue, count in PROCESSES.items() for _ in range(count)
    ]
    board().give_back()


def dirty_worker_init(worker: Any) -> None:
    end_with_parent()
    # Not os.getppid(): the arbiter may have been killed before this process could ask for that.
    threading.Thread(target=_watch, args=(worker, worker.ppid), daemon=True).start()


def dirty_worker_exit(arbiter: Any, worker: Any) -> None:
    """In the arbiter, once the process is gone."""
    # What fails here is made up for soon; the arbiter has to go on.
    try:
        board().give_back(worker.pid)
    except sqlite3.Error:
        log.exception("the jobs of a process that is gone cannot be given back")


def _watch(worker: Any, parent: int) -> None:
    pause = threading.Event()
    ticked = 0.0
    while worker.alive:
        if os.getppid() != parent:
            os._exit(1)
        for app in worker.apps.values():
            app.enforce_limits()
        if time.monotonic() - ticked > TICK:
            ticked = time.monotonic()
            _keep_order()
        pause.wait(LOOK_EVERY)
    for app in worker.apps.values():
        app.close()
    # By itself it would wait for its connections, which nobody closes.
    os._exit(0)


def _keep_order() -> None:
    """What any process may do, and one does at a time."""
    # The file may be locked for long, or its disk be full: the next look may do better.
    try:
        for delivery, pid in board().held():
            if not _is_alive(pid):
                board().give_back(pid)
            elif (ran := time.time() - delivery.began_at) > time_limit(delivery.task) + STUCK_AFTER:
                _end_stuck(delivery, pid, ran)
        submit_due(board(), SCHEDULE)
        #{% if cookiecutter.include_metrics %}
        TICKED.set_to_current_time()
        #{% endif %}
        minute = time.time() // 60 * 60
        if board().is_due("forget what is old", minute):
            board().forget_old(KEPT, settings.max_dead_letters)
    except sqlite3.Error:
        log.exception("the jobs cannot be put in order")


def _end_stuck(delivery: Delivery, pid: int, ran: float) -> None:
    """What lets no other thread run cannot be ended by one."""
    # If the job has ended since it was looked at, its process may be at the next one, or gone.
    if board().fail(delivery, TimeLimitExceeded(f"{ran:.0f} s")):
        log.error("a job is stuck, and its process is killed", id=delivery.id)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if sys.platform == "linux":
    import ctypes

    _LIBC = ctypes.CDLL(None)
    _PR_SET_PDEATHSIG = 1

    def end_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

else:

    def end_with_parent() -> None:
        """Only Linux ends a process together with its parent; the others look, now and then."""
