"""Log lines of many threads, written by one of its own."""

import logging
import os
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TextIO

# Lines that may wait. Whoever has more to say waits for them.
MOST_WAITING = 10_000
# Seconds after which lines that nobody takes are waited for no longer.
PATIENCE = 10.0


class LogWriter(logging.StreamHandler[TextIO]):
    """Takes the place of a handler that writes each line at once.

    Who writes lets go of the interpreter, and then waits for all that compute to get it back.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # Of the queues the one in which a signal or a destructor may log, too.
        self._waiting: SimpleQueue[str | Event] | None = SimpleQueue()
        self._holds_stream = Lock()
        writing = Thread(target=self._write, args=(self._waiting,), name="log writer", daemon=True)
        writing.start()
        # A copy of the process has no copy of the thread, which would never let go of the stream.
        os.register_at_fork(
            before=self._holds_stream.acquire,
            after_in_parent=self._holds_stream.release,
            after_in_child=self._begin_in_child,
        )

    def emit(self, record: logging.LogRecord) -> None:
        if (waiting := self._waiting) is None:
            super().emit(record)
            return
        try:
            waiting.put(self.format(record) + self.terminator)
        except Exception:
            self.handleError(record)
        if waiting.qsize() > MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        if (waiting := self._waiting) is None:
            super().flush()
            return
        written = Event()
        waiting.put(written)
        written.wait(PATIENCE)

    def close(self) -> None:
        self.flush()
        self._write_at_once()
        super().close()

    def _begin_in_child(self) -> None:
        self._holds_stream.release()
        self._write_at_once()

    def _write_at_once(self) -> None:
        self._waiting = None

    def _write(self, waiting: SimpleQueue[str | Event]) -> None:
        while True:
            batch = [waiting.get()]
            with suppress(Empty):
                while True:
                    batch.append(waiting.get_nowait())
            # Where nobody reads them any more, the tasks go on without.
            with self._holds_stream, suppress(OSError, ValueError):
                self.stream.write("".join(line for line in batch if isinstance(line, str)))
                self.stream.flush()
            for written in batch:
                if isinstance(written, Event):
                    written.set()


def take_over() -> None:
    """Have a thread write what is logged from now on."""
    root = logging.getLogger()
    for number, handler in enumerate(root.handlers):
        if type(handler) is logging.StreamHandler:
            writer = LogWriter(handler.stream)
            writer.setFormatter(handler.formatter)
            root.handlers[number] = writer
