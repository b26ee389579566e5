"""Results in PostgreSQL, which tells whoever waits for one as soon as it is there."""

# What Celery's types leave out of its backends.
# mypy: disable-error-code="attr-defined, misc"

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from celery import Celery, states
from celery.backends.database import DatabaseBackend
from celery.exceptions import BackendGetMetaError, TimeoutError
from celery.utils.log import get_logger
from kombu.utils.objects import cached_property
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

logger = get_logger(__name__)

# Connections of one process: a PostgreSQL has a hundred for all of them.
MOST = 5
# Unless the address says otherwise: a server that is gone without a word is missed after seconds.
BOUNDS = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
# Seconds for which who waits puts up with a server that is away.
PATIENCE = 30.0
# Seconds for which a connection waits for the next one who wants to be told.
LINGER = 10.0
# Seconds between two tries to get that connection.
TRY_AGAIN_AFTER = 1.0
CHANNEL = "celery_results"
# Of the locks that stand for a task somebody waits for; the other half is the hash of its id.
LOCKS = 7351
LOCK = "SELECT pg_advisory_lock_shared(%s, hashtext(id)) FROM unnest(%s::text[]) AS id"
UNLOCK = "SELECT pg_advisory_unlock_shared(%s, hashtext(id)) FROM unnest(%s::text[]) AS id"


def backend(app: Celery, url: str) -> DatabaseBackend:
    """What keeps results at this address: for SQLite, and with other drivers, Celery's own."""
    is_ours = sa.make_url(url).get_dialect().driver == "psycopg"
    return (Backend if is_ours else DatabaseBackend)(app=app, url=url)


class Listener:
    """The one connection by which all who wait in this process are told to look again."""

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._waker, self._wake_up = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_up.setblocking(False)

    @contextmanager
    def telling(self, task_id: str) -> Iterator[threading.Event]:
        """Set when there may be something new, which it also is once it would not be missed."""
        told = threading.Event()
        with self._lock:
            self._waiting.setdefault(task_id, set()).add(told)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=CHANNEL, daemon=True)
                self._thread.start()
        self._wake()
        try:
            yield told
        finally:
            with self._lock:
                self._waiting[task_id].discard(told)
                if not self._waiting[task_id]:
                    del self._waiting[task_id]
            self._wake()

    def close(self) -> None:
        self._is_closed = True
        self._wake()
        if thread := self._thread:
            thread.join()
        self._waker.close()
        self._wake_up.close()

    def _wake(self) -> None:
        # One that is full wakes as well.
        with suppress(BlockingIOError):
            self._waker.send(b" ")

    def _is_over(self) -> bool:
        with self._lock:
            if self._waiting and not self._is_closed:
                return False
            self._thread = None
            return True

    def _tell(self, task_id: str) -> None:
        with self._lock:
            for told in self._waiting.get(task_id, ()):
                told.set()

    def _run(self) -> None:
        while not self._is_over():
            try:
                with self._connect() as connection, selectors.DefaultSelector() as selector:
                    self._listen(connection, selector)
            except (psycopg.Error, OSError):
                # Until then, who waits looks now and then.
                logger.warning("nobody is told of results", exc_info=True)
                time.sleep(TRY_AGAIN_AFTER)

    def _listen(
        self, connection: "psycopg.Connection[Any]", selector: selectors.BaseSelector
    ) -> None:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(self._wake_up, selectors.EVENT_READ)
        connection.execute(f"LISTEN {CHANNEL}")
        locked: set[str] = set()
        is_idle = False
        while not (is_idle and not self._waiting) and not self._is_closed:
            with self._lock:
                wanted = set(self._waiting)
            if new := wanted - locked:
                connection.execute(LOCK, [LOCKS, list(new)])
            if left := locked - wanted:
                connection.execute(UNLOCK, [LOCKS, list(left)])
            locked = wanted
            for task_id in new:
                self._tell(task_id)
            for notice in connection.notifies(timeout=0):
                self._tell(notice.payload)
            is_idle = not selector.select(LINGER)
            with suppress(BlockingIOError):
                self._wake_up.recv(4096)


class Connections:
    """What one process has of them. None outlives a fork."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        address = sa.make_url(url)
        bounds = {name: bound for name, bound in BOUNDS.items() if name not in address.query}
        arguments = {**bounds, **options.get("connect_args", {})}
        # What is idle holds no lock: each statement is a transaction of its own. Of the connections
        # the last one that was given back is taken, so one is enough for who does one thing at a
        # time. None is tried before: it would double the time, and Celery tries again anyway.
        ours = {
            "connect_args": arguments,
            "isolation_level": "AUTOCOMMIT",
            "pool_size": MOST,
            "max_overflow": 0,
            "pool_use_lifo": True,
            "pool_pre_ping": False,
        }
        self.engine = sa.create_engine(address, **{**options, **ours})
        arguments = {**self.engine.dialect.create_connect_args(address)[1], **arguments}
        self.listener = Listener(lambda: psycopg.connect(**arguments, autocommit=True))


class Backend(DatabaseBackend):
    """Celery's own tables, with connections that are kept, and notices to those who wait."""

    def __init__(self, **options: Any) -> None:
        self._connections: dict[int, Connections] = {}
        super().__init__(**options)
        # One for all threads, which share its connections.
        self.thread_safe = True

    @property
    def connections(self) -> Connections:
        process = os.getpid()
        if process not in self._connections:
            made = Connections(self.url, self.engine_options)
            # Another thread may have been faster.
            self._connections.setdefault(process, made)
        return self._connections[process]

    def close(self) -> None:
        """Leave nothing open at the server."""
        if connections := self._connections.pop(os.getpid(), None):
            connections.listener.close()
            connections.engine.dispose()

    def ResultSession(self, session_manager: Any = None) -> Session:
        engine = self.connections.engine
        self.session_manager.prepare_models(engine)
        return Session(engine)

    def on_backend_retryable_error(self, exc: Exception) -> None:
        """A broken connection is replaced, and those of other threads are left alone."""

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        self._ensure_not_eager()
        meta = self.get_task_meta(task_id)
        seen_at = time.monotonic()
        deadline = None if timeout is None else seen_at + timeout
        if meta["status"] in states.READY_STATES:
            return meta
        with self.connections.listener.telling(task_id) as told:
            while True:
                if on_interval:
                    on_interval()
                pause = interval
                if deadline is not None:
                    pause = min(pause, deadline - time.monotonic())
                    if pause <= 0:
                        raise TimeoutError("The operation timed out.")
                told.wait(pause)
                told.clear()
                try:
                    meta = self.get_task_meta(task_id)
                except BackendGetMetaError:
                    if time.monotonic() - seen_at > PATIENCE:
                        raise
                    continue
                seen_at = time.monotonic()
                if meta["status"] in states.READY_STATES:
                    return meta

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **options: Any,
    ) -> None:
        row = self.task_cls(task_id)
        self._update_result(row, result, state, traceback=traceback, request=request)
        values = {name: getattr(row, name) for name in self._names}
        # Without a date it would never be deleted.
        values["date_done"] = values["date_done"] or self.app.now()
        engine = self.connections.engine
        self.session_manager.prepare_models(engine)
        with engine.connect() as connection:
            connection.execute(self._store, values)

    @cached_property
    def _names(self) -> list[str]:
        # Of the same table, Celery's other class has more.
        columns = sa.inspect(self.task_cls).column_attrs
        return [column.key for column in columns if column.key != "id"]

    @cached_property
    def _store(self) -> "sa.Select[Any]":
        """All in one statement, which is a transaction of its own.

        Who tells anybody of its commit keeps all others who do from theirs meanwhile. So only what
        somebody waits for is told: who waits has a lock for the task, which cannot be had then.
        """
        table = self.task_cls.__table__
        known = sa.select(table.c.id).where(table.c.task_id == sa.bindparam("task_id"))
        # One for each report of progress would be too many for a column of 32 bits.
        number = sa.func.coalesce(known.scalar_subquery(), table.c.id.default.next_value())
        values: dict[str, Any] = {name: sa.bindparam(name) for name in self._names}
        inserted = insert(table).values(id=number, **values)
        stored = (
            inserted.on_conflict_do_update(
                index_elements=[table.c.task_id],
                set_={name: inserted.excluded[name] for name in self._names},
                # Celery's own rule: what has succeeded stays so, whatever a second run says.
                where=table.c.status.is_distinct_from(states.SUCCESS),
            )
            .returning(table.c.task_id)
            .cte("stored")
        )
        lock = sa.func.pg_try_advisory_xact_lock(LOCKS, sa.func.hashtext(stored.c.task_id))
        return sa.select(sa.func.pg_notify(CHANNEL, stored.c.task_id)).where(sa.not_(lock))
