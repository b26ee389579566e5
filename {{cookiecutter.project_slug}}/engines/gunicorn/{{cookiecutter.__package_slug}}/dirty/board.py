"""The jobs, in a file that all processes of this host share: which wait, run, and have ended."""

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
    -- How often it failed and was tried again; and how often a worker was given it since then.
    retries INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    -- Of the delivery: only who holds it may say how it ended.
    claim TEXT,
    pid INTEGER,
    -- How far it is, and what came of it or why it failed.
    report TEXT,
    result TEXT,
    ended_at REAL,
    requeued INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON jobs (queue, due_at) WHERE state IN ('PENDING', 'RETRY');
CREATE INDEX IF NOT EXISTS running ON jobs (pid) WHERE claim IS NOT NULL;
CREATE INDEX IF NOT EXISTS submitted ON jobs (submitted_at);
CREATE INDEX IF NOT EXISTS dead ON jobs (ended_at) WHERE state = 'FAILURE';
-- To count those that wait takes ever longer the more there are.
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
CREATE TRIGGER IF NOT EXISTS counted AFTER UPDATE OF state ON jobs
WHEN (old.state IN ('PENDING', 'RETRY')) != (new.state IN ('PENDING', 'RETRY')) BEGIN
    UPDATE queues SET waiting = waiting + (new.state IN ('PENDING', 'RETRY'))
        - (old.state IN ('PENDING', 'RETRY')) WHERE name = new.queue;
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
    fired_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (
    task TEXT NOT NULL,
    outcome TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (task, outcome)
) WITHOUT ROWID;
"""
WAITING = "state IN ('PENDING', 'RETRY')"
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
    retries: int
    deliveries: int
    claim: str


class Board:
    """One connection for each thread, and for each process after a fork."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bells = folder / "bells"
        self._local = threading.local()

    @property
    def bells(self) -> Path:
        return self._bells

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
    ) -> str:
        """The id. The same id again changes nothing. Raises QueueIsFull when `most` wait already."""
        job_id = job_id or str(uuid4())
        now = time.time()
        with self._writing() as connection:
            full = "SELECT 1 FROM queues WHERE name = ? AND waiting >= ?"
            if connection.execute(full, (queue, most)).fetchone():
                raise QueueIsFull(f"{most} jobs wait in the queue {queue}")
            connection.execute(
                "INSERT OR IGNORE INTO jobs (id, task, arguments, queue, submitted_at, due_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    task,
                    json.dumps(arguments),
                    queue,
                    now,
                    now + delay,
                    expires and now + expires,
                ),
            )
        ring(self._bells, queue)
        return job_id

    def take(self, queue: str) -> Delivery | None:
        """The job that has waited longest, if any is due."""
        now = time.time()
        due = f"SELECT id FROM jobs WHERE queue = ? AND {WAITING} AND due_at <= ? ORDER BY due_at LIMIT 1"
        # Only to look is cheap, and holds up nobody.
        if self._connection().execute(due, (queue, now)).fetchone() is None:
            return None
        with self._writing() as connection:
            row = connection.execute(
                "UPDATE jobs SET state = 'STARTED', claim = ?, pid = ?, deliveries = deliveries + 1"
                f" WHERE id = ({due}) RETURNING *",
                (uuid4().hex, os.getpid(), queue, now),
            ).fetchone()
        if row is None:
            return None
        if row["expires_at"] is not None and row["expires_at"] < now:
            self._end(
                row["id"],
                row["claim"],
                "REVOKED",
                {"exc_type": "", "exc_message": ["it has expired"]},
            )
            return self.take(queue)
        return Delivery(
            row["id"],
            row["task"],
            json.loads(row["arguments"]),
            row["retries"],
            row["deliveries"],
            row["claim"],
        )

    def report(self, delivery: Delivery, meta: Mapping[str, Any]) -> None:
        """How far it is."""
        self._write(
            "UPDATE jobs SET state = 'PROGRESS', report = ? WHERE id = ? AND claim = ?",
            (json.dumps(meta), delivery.id, delivery.claim),
        )
        ring(self._bells, WATCHERS)

    def succeed(self, delivery: Delivery, result: str) -> None:
        """The result is JSON."""
        self._end(delivery.id, delivery.claim, "SUCCESS", result)

    def fail(self, delivery: Delivery, error: BaseException) -> None:
        self._end(delivery.id, delivery.claim, "FAILURE", described(error))

    def retry(self, delivery: Delivery, error: BaseException, delay: float) -> None:
        """Have it tried again after so many seconds."""
        self._write(
            "UPDATE jobs SET state = 'RETRY', result = ?, due_at = ?, retries = retries + 1,"
            " deliveries = 0, claim = NULL, pid = NULL WHERE id = ? AND claim = ?",
            (described(error), time.time() + delay, delivery.id, delivery.claim),
        )
        ring(self._bells, WATCHERS)

    def give_back(self, pid: int | None = None) -> list[str]:
        """Let others run what this process held, or any; it has ended. The ids."""
        held = "claim IS NOT NULL AND pid = ?" if pid else "claim IS NOT NULL"
        with self._writing() as connection:
            rows = connection.execute(
                "UPDATE jobs SET state = 'PENDING', report = NULL, claim = NULL, pid = NULL"
                f" WHERE {held} RETURNING id, queue",
                (pid,) if pid else (),
            ).fetchall()
        for queue in {row["queue"] for row in rows}:
            ring(self._bells, queue)
        return [row["id"] for row in rows]

    def submitted(self, job_id: str, at: float) -> None:
        """When the caller says so."""
        self._write("UPDATE jobs SET submitted_at = ? WHERE id = ?", (at, job_id))

    def cancel(self, job_id: str) -> bool:
        """Whether it waited, and now never runs."""
        cancelled = self._write(
            f"UPDATE jobs SET state = 'REVOKED', ended_at = ? WHERE id = ? AND {WAITING}",
            (time.time(), job_id),
        )
        ring(self._bells, WATCHERS)
        return cancelled == 1

    def jobs(self, ids: Sequence[str]) -> dict[str, sqlite3.Row]:
        marks = ", ".join("?" * len(ids))
        rows = self._connection().execute(f"SELECT * FROM jobs WHERE id IN ({marks})", tuple(ids))
        return {row["id"]: row for row in rows.fetchall()}

    def recent(self, most: int) -> list[str]:
        rows = self._connection().execute(
            "SELECT id FROM jobs ORDER BY submitted_at DESC LIMIT ?", (most,)
        )
        return [row["id"] for row in rows.fetchall()]

    def waiting(self) -> dict[str, int]:
        """Queue -> how many jobs wait there."""
        rows = self._connection().execute("SELECT * FROM queues")
        return {row["name"]: row["waiting"] for row in rows.fetchall()}

    def count_dead(self) -> int:
        (count,) = (
            self._connection()
            .execute("SELECT count(*) FROM jobs WHERE state = 'FAILURE'")
            .fetchone()
        )
        return int(count)

    def claim_key(
        self, key: str, job_id: str, fingerprint: str, patience: float, kept: float
    ) -> tuple[str, str, bool, bool]:
        """The job of an idempotency key, its fingerprint, whether it is submitted, and whether the
        caller has to submit it: who came first, or first again after so many seconds."""
        now = time.time()
        with self._writing() as connection:
            connection.execute("DELETE FROM idempotency_keys WHERE claimed_at < ?", (now - kept,))
            mine = connection.execute(
                "INSERT INTO idempotency_keys VALUES (?, ?, ?, 0, ?) ON CONFLICT DO UPDATE"
                " SET claimed_at = excluded.claimed_at WHERE NOT is_submitted"
                " AND claimed_at < ? AND fingerprint = excluded.fingerprint RETURNING 1",
                (key, job_id, fingerprint, now, now - patience),
            ).fetchone()
            row = connection.execute(
                "SELECT job_id, fingerprint, is_submitted FROM idempotency_keys WHERE key = ?",
                (key,),
            ).fetchone()
        return row["job_id"], row["fingerprint"], bool(row["is_submitted"]), mine is not None

    def keep_key(self, key: str) -> None:
        self._write("UPDATE idempotency_keys SET is_submitted = 1 WHERE key = ?", (key,))

    def release_key(self, key: str) -> None:
        """Whoever comes next may submit the job."""
        self._write("UPDATE idempotency_keys SET claimed_at = 0 WHERE key = ?", (key,))

    def running(self) -> dict[int, int]:
        """Process -> how many jobs it runs."""
        rows = self._connection().execute(
            "SELECT pid, count(*) AS count FROM jobs WHERE claim IS NOT NULL GROUP BY pid"
        )
        return {row["pid"]: row["count"] for row in rows.fetchall()}

    def forget_all(self) -> None:
        with self._writing() as connection:
            for table in ("jobs", "idempotency_keys", "queues"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608

    def is_due(self, name: str, at: float) -> bool:
        """Whether this run of the schedule is the caller's: true for one of all processes."""
        first = self._write(
            "INSERT INTO schedule VALUES (?, ?) ON CONFLICT DO UPDATE SET fired_at = excluded.fired_at"
            " WHERE fired_at < excluded.fired_at",
            (name, at),
        )
        return first == 1

    def _end(self, job_id: str, claim: str, state: str, result: str | Mapping[str, Any]) -> None:
        text = result if isinstance(result, str) else json.dumps(result)
        self._write(
            "UPDATE jobs SET state = ?, result = ?, ended_at = ?, claim = NULL, pid = NULL"
            " WHERE id = ? AND claim = ?",
            (state, text, time.time(), job_id, claim),
        )
        ring(self._bells, WATCHERS)

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
            connection = sqlite3.connect(
                self._folder / "jobs.sqlite3", timeout=PATIENCE, isolation_level=None
            )
            connection.row_factory = sqlite3.Row
            # Readers and one writer at the same time; what is committed survives the end of any
            # process, and the last moments before a power cut may be lost.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(SCHEMA)
            self._local.connection, self._local.pid = connection, os.getpid()
        found: sqlite3.Connection = self._local.connection
        return found


def described(error: BaseException) -> str:
    """As Celery describes one."""
    words = [str(word) for word in error.args] or [str(error)]
    return json.dumps({"exc_type": type(error).__name__, "exc_message": words})
