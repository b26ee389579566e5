"""PostgreSQL and RabbitMQ from the machine's packages, for the suites that need them."""

import itertools
import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Seconds a server or one of its commands may take.
TIMEOUT = 120


class Servers:
    """Starts each server when it is needed first, and gives each suite a part of its own."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._stack = ExitStack()
        self._numbers = itertools.count(1)

    @contextmanager
    def running(self) -> Iterator["Servers"]:
        with self._stack:
            yield self

    def needed_by(self, answers: Mapping[str, str | bool]) -> dict[str, str]:
        """The variables by which the tests of a project with these answers find their servers."""
        number, found = next(self._numbers), {}
        if answers["broker"] == "rabbitmq":
            found["TEST_BROKER_URL"] = self._rabbitmq.new_virtual_host(f"suite{number}")
            found["RABBITMQCTL"] = self._rabbitmq.command
        if answers["include_sqlalchemy"]:
            address = self._postgres.new_database(f"suite{number}")
            found["TEST_DATABASE_URL"] = f"postgresql+psycopg://{address}"
        if answers["result_backend"] == "postgres":
            address = self._postgres.new_database(f"results{number}")
            found["TEST_RESULT_BACKEND"] = f"db+postgresql+psycopg://{address}"
        return found

    @cached_property
    def _postgres(self) -> "Postgres":
        return self._stack.enter_context(Postgres().running())

    @cached_property
    def _rabbitmq(self) -> "RabbitMQ":
        return self._stack.enter_context(RabbitMQ(self._folders.mktemp("rabbitmq")).running())


def program(name: str, *elsewhere: str) -> str:
    """Where a server's program is. Without one a laptop skips the test, but CI must not."""
    folders = [str(path) for pattern in elsewhere for path in sorted(Path("/").glob(pattern))]
    found = shutil.which(name, path=os.pathsep.join([*reversed(folders), os.environ["PATH"]]))
    if found is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    # One after the other could be the same one.
    with ExitStack() as stack:
        address = ("127.0.0.1", 0)
        listeners = [stack.enter_context(socket.create_server(address)) for _ in range(count)]
        for listener in listeners:
            with socket.create_connection(listener.getsockname()) as caller:
                # Closed at this end first, it is for a minute given to nobody who does not name it.
                listener.accept()[0].close()
                caller.recv(1)
        return [listener.getsockname()[1] for listener in listeners]


class Postgres:
    """A server on the loopback interface whose users need no password."""

    def __init__(self) -> None:
        self.port = free_port()
        self.binaries = Path(program("initdb", "usr/lib/postgresql/*/bin")).parent
        # It refuses to run as root.
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    @contextmanager
    def running(self) -> Iterator["Postgres"]:
        # pytest's folders are closed to the other user.
        with TemporaryDirectory(prefix="postgres-") as folder:
            if self.as_user:
                shutil.chown(folder, "postgres")
            data = f"{folder}/data"
            self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", data)
            options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -F"
            log = f"{folder}/log"
            self._run("pg_ctl", "start", "--wait", "-D", data, "-l", log, "-o", options)
            try:
                yield self
            finally:
                self._run("pg_ctl", "stop", "--wait", "-m", "immediate", "-D", data)

    def new_database(self, name: str) -> str:
        """The address, without a driver, of one whose user may do nothing anywhere else."""
        as_superuser = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self._run("createuser", *as_superuser, name)
        self._run("createdb", *as_superuser, "-O", name, name)
        return f"{name}@127.0.0.1:{self.port}/{name}"

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [*self.as_user, str(self.binaries / name), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )


class RabbitMQ:
    """A node that neither reads the machine's configuration nor knows another node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends = threading.Event()
        self.port, self.distribution_port, self.name_server_port = free_ports(3)
        # The scripts in /usr/sbin insist on a user of their own; those behind them do not.
        scripts = "usr/lib/rabbitmq/bin"
        self.server = program("rabbitmq-server", scripts)
        self.control = program("rabbitmqctl", scripts)
        files = {
            "CONFIG_FILE": "rabbitmq.conf",
            "ENABLED_PLUGINS_FILE": "plugins",
            "LOG_BASE": "log",
            "MNESIA_BASE": "data",
            # Not there, so that those in /etc/rabbitmq are not read.
            "ADVANCED_CONFIG_FILE": "absent",
            "CONF_ENV_FILE": "absent",
        }
        self.environment = {
            "PATH": os.environ["PATH"],
            # Where Erlang keeps the secret by which its programs know each other.
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.name_server_port),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            # The script becomes the node, and the node ends together with its standard input.
            "RABBITMQ_ALLOW_INPUT": "1",
            # Idle schedulers would keep a core busy.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}",
        } | {f"RABBITMQ_{name}": str(folder / path) for name, path in files.items()}

    @property
    def command(self) -> str:
        """What a shell would need to control the node."""
        variables = (f"{name}={value}" for name, value in self.environment.items())
        return shlex.join(["env", *variables, self.control])

    @contextmanager
    def running(self) -> Iterator["RabbitMQ"]:
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        # The node would start a name server that outlives it.
        names = self._start(program("epmd"))
        self._node = self._start(self.server)
        thread = threading.Thread(target=self._start_again)
        thread.start()
        try:
            self._wait_until_it_answers()
            yield self
        finally:
            self._ends.set()
            while thread.is_alive():
                self._node.kill()
                thread.join(1)
            names.kill()
            names.communicate()

    def _start(self, command: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [command],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    def _start_again(self) -> None:
        """As whoever watches a server does, when a test has killed it."""
        while True:
            self._node.wait()
            self._node.communicate()
            if self._ends.is_set():
                return
            self._node = self._start(self.server)

    def new_virtual_host(self, name: str) -> str:
        """The address of a part that shares no queue with any other, whose user has no other."""
        self._control("add_vhost", name)
        self._control("add_user", name, "password")
        self._control("set_permissions", "--vhost", name, name, ".*", ".*", ".*")
        return f"amqp://{name}:password@127.0.0.1:{self.port}/{name}"

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [self.control, *arguments],
            check=True,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline:
                pytest.fail(f"RabbitMQ did not start:\n{(self.folder / 'output').read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        address = ("127.0.0.1", self.port)
        with suppress(OSError), socket.create_connection(address, 1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
        return False
