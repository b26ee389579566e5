"""The API as a process of its own, for the tests that are marked `live`."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx2
from live_service import PACKAGE, TIMEOUT, Service, kill, wait_until

from {{ cookiecutter.__package_slug }}.ports import free_port

KEY = "sixteen-characters"


@dataclass(frozen=True)
class Api:
    process: "subprocess.Popen[bytes]"
    client: httpx2.Client

    def is_alive(self) -> bool:
        with suppress(httpx2.TransportError):
            return self.client.get("/healthz").status_code == 200
        return False


@contextmanager
def running_api(
    service: Service, program: Sequence[str] = ("-m", PACKAGE), **changed: str
) -> Iterator[Api]:
    """Until the end of the block, and then it is stopped."""
    port = str(free_port())
    environment = service.environment | {"API_KEY": KEY, "API_PORT": port} | changed
    process = subprocess.Popen(
        [sys.executable, *program, "api"],
        cwd=service.folder,
        env=environment,
        start_new_session=True,
    )
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"X-API-Key": KEY},
        timeout=TIMEOUT,
        trust_env=False,
    )
    try:
        with client:
            api = Api(process, client)
            wait_until(api.is_alive, "the API")
            yield api
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    finally:
        kill(process)
