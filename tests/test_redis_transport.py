"""A rendered project's Redis transport keeps what Kombu's promises: Kombu's own tests say so."""

import os
import re
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import pytest
from combinations import Render
from environments import CACHE, Superset
from servers import free_ports

TESTS = ("t/integration/test_redis.py", "t/integration/test_redis_brpop_qos.py")
# What Kombu 5.7 has; another number has to be looked at.
NUMBER = 129
# They mostly wait, so that many take little longer than one.
PARTS = 8
# Kombu's tests ask for a transport by its scheme only.
PLUGIN = f"""
import os
from kombu.transport import get_transport_cls
from order_jobs import broker
assert get_transport_cls("redis").__module__ == "order_jobs.redis_transport"

def pytest_collection_modifyitems(items):
    items[:] = items[int(os.environ["PART"])::{PARTS}]
"""
# Runs the command that follows beside a server that has no password.
BESIDE_A_SERVER = """
import os, subprocess, sys
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry
from order_jobs import embedded_broker
port = os.environ["REDIS_6379_TCP"]
options = ["--port", port, "--bind", "127.0.0.1", "--save", ""]
with subprocess.Popen([embedded_broker._server(), *options], stdout=subprocess.DEVNULL) as server:
    patience = Retry(ConstantBackoff(0.01), 1000, (ConnectionError,))
    Redis(port=int(port), retry=patience).ping()
    status = subprocess.call([sys.executable, *sys.argv[1:]])
    server.terminate()
sys.exit(status)
"""


@pytest.fixture
def kombu(superset: Superset) -> Path:
    """The source of the version in use, with the tests that its wheel leaves out."""
    path = [str(superset.site_packages)]
    (version,) = {found.version for found in distributions(name="kombu", path=path)}
    source = CACHE / f"kombu-{version}"
    if not source.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = ["uvx", "--quiet", "pip", "download", "--quiet", f"--dest={folder}"]
            options = ["--no-deps", "--no-binary=kombu", f"kombu=={version}"]
            subprocess.run([*command, *options], check=True, timeout=300)
            with tarfile.open(Path(folder, f"{source.name}.tar.gz")) as archive:
                archive.extractall(folder, filter="data")
            Path(folder, source.name).rename(source)
    return source


def test_kombus_own_tests_of_its_transport_pass(
    render: Render, superset: Superset, kombu: Path, tmp_path: Path
) -> None:
    project = render({"broker": "redis", "include_docker": False})
    (tmp_path / "beside_a_server.py").write_text(BESIDE_A_SERVER)
    (tmp_path / "ours.py").write_text(PLUGIN)
    python = superset.folder / "bin" / "python"
    plugins = ["-p", "ours", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = ["-m", "pytest", "-q", "-x", "-W", "ignore", *plugins, *TESTS]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tmp_path}:{project}",
        "REDIS_HOST": "127.0.0.1",
    }

    # Parts that each look for one of their own could find the same.
    ports = free_ports(PARTS)

    def run(part: int) -> str:
        return subprocess.run(
            [python, tmp_path / "beside_a_server.py", *command],
            cwd=kombu,
            env=environment | {"PART": str(part), "REDIS_6379_TCP": str(ports[part])},
            stdout=subprocess.PIPE,
            text=True,
            timeout=600,
        ).stdout

    with ThreadPoolExecutor(PARTS) as executor:
        told = list(executor.map(run, range(PARTS)))

    passed = [re.search(r"^(\d+) passed in", text, re.MULTILINE) for text in told]
    assert sum(int(found[1]) for found in passed if found) == NUMBER, "\n".join(told)[-9000:]
