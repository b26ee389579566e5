"""The jobs, in a file that all processes of this host share: which wait, run, and have ended."""

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from .bell import ring

# The states are Celery's, and mean the same.
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    arguments TEXT NOT NULL,
    queue TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'PENDING',
    submitted_at REAL NOT NULL,
    due_at REAL NOT NULL,
    expires_at REAL,
    -- It marks the lines of the log that belong together.
    correlation_id TEXT NOT NULL,
    -- Of the trace that it belongs to.
    carrier TEXT NOT NULL,
    -- How often it failed and was tried again; and how often a worker was given it since then.
    retries INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    -- Of the delivery: only who holds it may say how it ended. Which process does, since when.
    claim TEXT,
    pid INTEGER,
    began_at REAL,
    -- How far it is, and what came of it or why it failed.
    report TEXT,
    result TEXT,
    ended_at REAL,
    requeued INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON jobs (queue, due_at) WHERE state IN ('PENDING', 'RETRY');
CREATE INDEX IF NOT EXISTS held ON jobs (pid) WHERE claim IS NOT NULL;
CREATE INDEX IF NOT EXISTS submitted ON jobs (submitted_at);
CREATE INDEX IF NOT EXISTS dead ON jobs (ended_at) WHERE state = 'FAILURE';
CREATE INDEX IF NOT EXISTS ended ON jobs (ended_at) WHERE state IN ('SUCCESS', 'REVOKED');
-- To count those that wait would take ever longer the more there are.
CREATE TABLE IF NOT EXISTS queues (
    name TEXT PRIMARY KEY,
    waiting INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS counted_in AFTER INSERT ON jobs BEGIN
    INSERT INTO queues VALUES (new.queue, 1) ON CONFLICT DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER IF NOT EXISTS counted_out AFTER DELETE ON jobs
WHEN old.state IN ('PENDING', 'RETRY') BEGIN
    UPDATE queues SET waiting = waiting - 1 WHERE name = old.queue;
END;
CREATE TRIGGER IF NOT EXISTS counted_anew AFTER UPDATE OF state ON jobs
WHEN (old.state IN ('PENDING', 'RETRY')) != (new.state IN ('PENDING', 'RETRY')) BEGIN
    UPDATE queues
    SET waiting = waiting + iif(new.state IN ('PENDING', 'RETRY'), 1, -1)
    WHERE name = new.queue;
END;
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    is_submitted INTEGER NOT NULL,
    claimed_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schedule (
    name TEXT PRIMARY KEY,
    due_at REAL NOT NULL
) WITHOUT ROWID;
"""
SUBMIT = """
INSERT OR IGNORE INTO jobs
    (id, task, arguments, queue, submitted_at, due_at, expires_at, correlation_id, carrier)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
IS_ANY_DUE = """
SELECT 1 FROM jobs WHERE queue = ? AND state IN ('PENDING', 'RETRY') AND due_at <= ? LIMIT 1
"""
TAKE = """
UPDATE jobs SET state = 'STARTED', claim = ?, pid = ?, began_at = ?, deliveries = deliveries + 1
WHERE id = (
    SELECT id FROM jobs WHERE queue = ? AND state IN ('PENDING', 'RETRY') AND due_at <= ?
    ORDER BY due_at LIMIT 1
) RETURNING *
"""
REPORT = "UPDATE jobs SET state = 'PROGRESS', report = ? WHERE id = ? AND claim = ?"
RETRY = """
UPDATE jobs SET state = 'RETRY', result = ?, due_at = ?, retries = retries + 1, deliveries = 0,
    claim = NULL, pid = NULL
WHERE id = ? AND claim = ?
"""
POSTPONE = """
UPDATE jobs SET state = 'PENDING', due_at = ?, deliveries = deliveries - 1, claim = NULL, pid = NULL
WHERE id = ? AND claim = ?
"""
END = """
UPDATE jobs SET state = ?, result = ?, ended_at = ?, claim = NULL, pid = NULL
WHERE id = ? AND claim = ?
"""
GIVE_BACK = """
UPDATE jobs SET state = 'PENDING', report = NULL, claim = NULL, pid = NULL
WHERE claim IS NOT NULL AND pid = coalesce(?, pid) RETURNING id, queue
"""
CANCEL = """
UPDATE jobs SET state = 'REVOKED', ended_at = ? WHERE id = ? AND state IN ('PENDING', 'RETRY')
"""
REQUEUE = """
UPDATE jobs SET state = 'PENDING', due_at = ?, expires_at = NULL, retries = 0, deliveries = 0,
    report = NULL, result = NULL, ended_at = NULL, requeued = requeued + 1
WHERE id = ? AND state = 'FAILURE' RETURNING queue
"""
DROP_OLDEST = """
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs WHERE state = 'FAILURE' ORDER BY ended_at DESC LIMIT -1 OFFSET ?
)
"""
CLAIM_KEY = """
INSERT INTO idempotency_keys VALUES (?, ?, ?, 0, ?)
ON CONFLICT DO UPDATE SET claimed_at = excluded.claimed_at
WHERE NOT is_submitted AND claimed_at < ? AND fingerprint = excluded.fingerprint
RETURNING 1
"""
IS_DUE = "UPDATE schedule SET due_at = ? WHERE name = ? AND due_at < ?"
# Seconds that a statement waits for another process, which writes.
PATIENCE = 5.0
# Who listens for what becomes of jobs.
WATCHERS = "watchers"


class QueueIsFull(Exception):
    """As many jobs wait in this queue as may."""


@dataclass(frozen=True)
class Delivery:
    """A job that a worker was given."""

    id: str
    task: str
    arguments: dict[str, Any]
    queue: str
    correlation_id: str
    carrier: dict[str, str]
    retries: int
    deliveries: int
    claim: str
    # Seconds since 1970.
    due_at: float
    began_at: float


class Board:
    """One connection for each thread, and for each process after a fork."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bells = folder / "bells"
        self._local = threading.local()

    def submit(
        self,
        task: str,
        arguments: Mapping[str, Any],
        queue: str,
        most: int,
        job_id: str | None = None,
        *,
        delay: float = 0,
        expires: float | None = None,
        correlation_id: str | None = None,
        carrier: Mapping[str, str] | None = None,
    ) -> str:
        """The id; the same one again changes nothing. Times are seconds from now.

        Raises:
            QueueIsFull: when so many wait already.
        """
        job_id = job_id or str(uuid4())
        now = time.time()
        when = (now, now + delay, None if expires is None else now + expires)
        marks = (correlation_id or job_id, json.dumps(carrier or {}))
        values = (job_id, task, json.dumps(arguments), queue, *when, *marks)
        with self._writing() as connection:
            full = "SELECT 1 FROM queues WHERE name = ? AND waiting >= ?"
            if connection.execute(full, (queue, most)).fetchone():
                raise QueueIsFull(f"{most} jobs wait in the queue {queue}")
            connection.execute(SUBMIT, values)
        ring(self.bells, queue)
        return job_id

    def submitted(self, job_id: str, at: float) -> None:
        """What the caller was told of when it was."""
        self._write("UPDATE jobs SET submitted_at = ? WHERE id = ?", (at, job_id))

    def take(self, queue: str) -> Delivery | None:
        """The job that has waited longest, if any is due and not too late."""
        while (row := self._take(queue)) is not None:
            if row["expires_at"] is None or row["expires_at"] >= time.time():
                return _delivery(row)
            self.expire(_delivery(row))
        return None

    def _take(self, queue: str) -> sqlite3.Row | None:
        now = time.time()
        # Only to look is cheap, and holds up nobody.
        if not self._rows(IS_ANY_DUE, (queue, now)):
            return None
        with self._writing() as connection:
            values = (uuid4().hex, os.getpid(), now, queue, now)
            row: sqlite3.Row | None = connection.execute(TAKE, values).fetchone()
        return row

    def postpone(self, delivery: Delivery, delay: float) -> None:
        """As if it had not been given out, and not before so many seconds from now."""
        self._write(POSTPONE, (time.time() + delay, delivery.id, delivery.claim))

    def held(self) -> list[tuple[Delivery, int]]:
        """What runs, and in which process."""
        rows = self._rows("SELECT * FROM jobs WHERE claim IS NOT NULL")
        return [(_delivery(row), row["pid"]) for row in rows]

    def report(self, delivery: Delivery, report: Mapping[str, Any]) -> None:
        """How far it is."""
        self._write(REPORT, (json.dumps(report), delivery.id, delivery.claim))
        ring(self.bells, WATCHERS)

    def succeed(self, delivery: Delivery, result: str) -> bool:
        """Whether it was this delivery's to say. The result is JSON."""
        return self._end(delivery.id, delivery.claim, "SUCCESS", result)

    def fail(self, delivery: Delivery, error: BaseException) -> bool:
        """For good: it is among the dead letters then. Whether it was this delivery's to say."""
        return self._end(delivery.id, delivery.claim, "FAILURE", _described(error))

    def retry(self, delivery: Delivery, error: BaseException, delay: float) -> bool:
        """Have it tried again after so many seconds. Whether it was this delivery's to say."""
        values = (_described(error), time.time() + delay, delivery.id, delivery.claim)
        is_news = self._write(RETRY, values) == 1
        ring(self.bells, WATCHERS)
        return is_news

    def expire(self, delivery: Delivery) -> bool:
        """It came too late. Whether it was this delivery's to say."""
        failure = {"exc_type": "Expired", "exc_message": ["nobody began it in time"]}
        return self._end(delivery.id, delivery.claim, "REVOKED", json.dumps(failure))

    def give_back(self, pid: int | None = None) -> list[str]:
        """Let others run what this process held, or any: it has ended. The ids."""
        with self._writing() as connection:
            rows = connection.execute(GIVE_BACK, (pid,)).fetchall()
        for queue in {row["queue"] for row in rows}:
            ring(self.bells, queue)
        return [row["id"] for row in rows]

    def cancel(self, job_id: str) -> bool:
        """Whether it waited, and now never runs."""
        cancelled = self._write(CANCEL, (time.time(), job_id))
        ring(self.bells, WATCHERS)
        return cancelled == 1

    def jobs(self, ids: Sequence[str]) -> dict[str, sqlite3.Row]:
        """Those that there are, by id."""
        some = "SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        return {row["id"]: row for row in self._rows(some, (json.dumps(list(ids)),))}

    def recent(self, most: int) -> list[str]:
        """The ids, the latest first."""
        latest = "SELECT id FROM jobs ORDER BY submitted_at DESC LIMIT ?"
        return [row["id"] for row in self._rows(latest, (most,))]

    def waiting(self) -> dict[str, int]:
        """Queue -> how many jobs wait there."""
        return {row["name"]: row["waiting"] for row in self._rows("SELECT * FROM queues")}

    def running(self) -> dict[int, int]:
        """Process -> how many jobs it runs."""
        held = "SELECT pid, count(*) AS count FROM jobs WHERE claim IS NOT NULL GROUP BY pid"
        return {row["pid"]: row["count"] for row in self._rows(held)}

    def dead(self) -> list[sqlite3.Row]:
        """The dead letters, the oldest first."""
        return self._rows("SELECT * FROM jobs WHERE state = 'FAILURE' ORDER BY ended_at")

    def count_dead(self) -> int:
        (row,) = self._rows("SELECT count(*) AS count FROM jobs WHERE state = 'FAILURE'")
        return int(row["count"])

    def requeue(self, job_id: str) -> bool:
        """Whether it was a dead letter, and now waits to run again."""
        with self._writing() as connection:
            row = connection.execute(REQUEUE, (time.time(), job_id)).fetchone()
        if row:
            ring(self.bells, row["queue"])
        return row is not None

    def forget(self, job_id: str) -> None:
        self._write("DELETE FROM jobs WHERE id = ?", (job_id,))

    def forget_old(self, kept: float, most_dead: int) -> int:
        """How many jobs are forgotten: those that ended well so many seconds ago, and the oldest of
        more dead letters than so many."""
        ended = "DELETE FROM jobs WHERE state IN ('SUCCESS', 'REVOKED') AND ended_at < ?"
        return self._write(ended, (time.time() - kept,)) + self._write(DROP_OLDEST, (most_dead,))

    def claim_key(
        self, key: str, job_id: str, fingerprint: str, patience: float, kept: float
    ) -> tuple[str, str, bool, bool]:
        """The job of an idempotency key, its fingerprint, whether it is submitted, and whether the
        caller has to submit it: who came first, or first again after so many seconds."""
        now = time.time()
        with self._writing() as connection:
            connection.execute("DELETE FROM idempotency_keys WHERE claimed_at < ?", (now - kept,))
            values = (key, job_id, fingerprint, now, now - patience)
            mine = connection.execute(CLAIM_KEY, values).fetchone()
            row = connection.execute(
                "SELECT * FROM idempotency_keys WHERE key = ?", (key,)
            ).fetchone()
        return row["job_id"], row["fingerprint"], bool(row["is_submitted"]), mine is not None

    def keep_key(self, key: str) -> None:
        """Its job is submitted."""
        self._write("UPDATE idempotency_keys SET is_submitted = 1 WHERE key = ?", (key,))

    def release_key(self, key: str) -> None:
        """Whoever comes next may submit its job."""
        # Not so old that it is deleted: it keeps its job's id, which may have been submitted.
        past = "UPDATE idempotency_keys SET claimed_at = claimed_at - 3600 WHERE key = ?"
        self._write(past, (key,))

    def is_due(self, name: str, at: float) -> bool:
        """Whether this run of the schedule is the caller's: true for one of all processes, and not
        for the run before the service was started for the first time."""
        known = self._rows("SELECT due_at FROM schedule WHERE name = ?", (name,))
        # Only to look is cheap, and holds up nobody.
        if known and known[0]["due_at"] >= at:
            return False
        if self._write(IS_DUE, (at, name, at)):
            return True
        self._write("INSERT OR IGNORE INTO schedule VALUES (?, ?)", (name, at))
        return False

    def _end(self, job_id: str, claim: str, state: str, result: str) -> bool:
        ended = self._write(END, (state, result, time.time(), job_id, claim))
        ring(self.bells, WATCHERS)
        return ended == 1

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        return self._connection().execute(statement, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> int:
        with self._writing() as connection:
            return connection.execute(statement, values).rowcount

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        # Another process may write at this moment: to wait for it is possible only at the start.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "pid", None) != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            with _alone_in(self._folder):
                self._local.connection = _open(self._folder / "jobs.sqlite3")
            self._local.pid = os.getpid()
        found: sqlite3.Connection = self._local.connection
        return found


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """SQLite waits for no other process while a new file gets its journal: it fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # A process that was forked meanwhile has the descriptor too, and would hold the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    connection.row_factory = sqlite3.Row
    # Readers and one writer at the same time; what is committed survives the end of any process,
    # and the last moments before a power cut may be lost.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(SCHEMA)
    return connection


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        id=row["id"],
        task=row["task"],
        arguments=json.loads(row["arguments"]),
        queue=row["queue"],
        correlation_id=row["correlation_id"],
        carrier=json.loads(row["carrier"]),
        retries=row["retries"],
        deliveries=row["deliveries"],
        claim=row["claim"],
        due_at=row["due_at"],
        began_at=row["began_at"],
    )


def is_final(job: sqlite3.Row) -> bool:
    return job["ended_at"] is not None


def _described(error: BaseException) -> str:
    words = [str(word) for word in error.args] or [str(error)]
    return json.dumps({"exc_type": type(error).__name__, "exc_message": words})
