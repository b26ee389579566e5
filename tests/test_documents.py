"""Every block in the documents of a rendered project works, typed as it stands."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from combinations import Answers, Render, covering, label
from conftest import asked_for

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A command that runs until it is stopped, and the words by which it says that it works.
DEV_READY = "ready. In another terminal"
LASTING = {
    r" dev$": DEV_READY,
    r"\bcelery .* worker\b": " ready.",
    r"\bcelery .* beat\b": "beat: Starting",
    r" outbox relay$": "the relay sends",
    r" gunicorn$": "ASGI server listening",
}
TIMEOUT = 240


@dataclass
class Block:
    """A fenced block of a document."""

    document: str
    language: str
    text: str


class Reader:
    """Somebody who works through the documents of a project, in a copy of it with its own tools."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.dev_said: list[str] = []
        self.environment = {
            name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"
        }
        # Its own: while `dev` starts the API again, that of another reader could take the port.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.environment["API_PORT"] = str(free.getsockname()[1])

    def blocks(self, *documents: Path) -> Iterator[Block]:
        for document in documents:
            for language, text in FENCE.findall(document.read_text("utf-8")):
                yield Block(document.name, language, text)

    def follow(self, block: Block) -> None:
        if block.language == "python":
            self._python(block.text)
        elif block.language == "bash":
            self._bash(block.text)
        # Drawings.
        elif block.language not in ("mermaid", "text"):
            pytest.fail(f"{block.document} has a block of {block.language}, which nobody runs")

    def _bash(self, text: str) -> None:
        for pattern, sign in LASTING.items():
            if re.search(pattern, text.strip()):
                if not pattern.startswith(" dev"):
                    with self.running(text.strip(), sign):
                        return
                return
        self.run(["bash", "-euo", "pipefail", "-c", text])

    def _python(self, text: str) -> None:
        title, _, rest = text.partition("\n")
        new_file = re.fullmatch(r"# ([\w/.]+\.py)", title)
        addition = re.fullmatch(r"# ([\w/.]+\.py), in (\w+)", title)
        if new_file:
            path = self.project / new_file[1]
            assert not path.exists(), f"{path} would be replaced"
            self._change(path, rest)
        elif addition:
            path = self.project / addition[1]
            start = re.compile(rf"^{addition[2]}\b.* = {{\n", re.MULTILINE)
            content, count = start.subn(lambda match: match[0] + rest, path.read_text("utf-8"))
            assert count == 1, f"{path} has no {addition[2]}"
            self._change(path, content)
        else:
            self.run(["uv", "run", "python", "-c", text])

    def _change(self, path: Path, content: str) -> None:
        """Write the file as an editor does, then wait for `dev` to reload when it should."""
        seen = len(self.dev_said)
        path.write_text(content)
        if path.parent == self.project / "tests":
            return
        deadline = time.monotonic() + TIMEOUT
        signs = [r"ASGI server listening"]
        if (self.project / "docs/celery.md").exists():
            signs = [r"@\S+ ready\."]
            if (self.project / "docs/api.md").exists():
                signs.append(r"Uvicorn running")
        reloaded = [re.compile(rf"{path.name}.* changed: .*{sign}", re.DOTALL) for sign in signs]
        while not all(sign.search(self._said(seen)) for sign in reloaded):
            assert time.monotonic() < deadline, f"`dev` did not reload:\n{self._said(seen)}"
            time.sleep(0.05)

    def _said(self, since: int) -> str:
        return "".join(self.dev_said[since:])

    def run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}"
        return done.stdout

    @contextmanager
    def running(self, command: str, sign: str) -> Iterator[list[str]]:
        """A command that lasts and what it prints, stopped with Ctrl-C at the end of the block."""
        printed: list[str] = []
        is_ready = threading.Event()
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def read() -> None:
            assert process.stdout
            for line in process.stdout:
                printed.append(line)
                if sign in line:
                    is_ready.set()
            is_ready.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            is_ready.wait(TIMEOUT)
            assert any(sign in line for line in printed), f"{command}:\n{''.join(printed)[-5000:]}"
            yield printed
        finally:
            # As a terminal does it: to every process in the foreground.
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                pytest.fail(f"{command} did not stop:\n{''.join(printed)[-5000:]}")
            reader.join(10)


@pytest.fixture(scope="session")
def readings(
    request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All readers work at once: most of the time each of them waits."""
    chosen = asked_for(request.session, "chosen")
    with ThreadPoolExecutor(len(chosen)) as threads:
        yield {
            label(answers): threads.submit(read, render(answers), tmp_path_factory.mktemp("read"))
            for answers in chosen
        }


def read(source: Path, folder: Path) -> None:
    """Follow all documents of a project in a copy of it."""
    project = folder / source.name
    shutil.copytree(source, project)
    reader = Reader(project)
    documents = [project / "README.md", *sorted((project / "docs").glob("*.md"))]
    # What needs Docker Engine is followed in test_stack.py.
    documents = [document for document in documents if document.name != "containers.md"]
    blocks = list(reader.blocks(*documents))
    (dev,) = [block for block in blocks if block.text.strip().endswith(" dev")]

    with reader.running(dev.text.strip(), DEV_READY) as reader.dev_said:
        for block in blocks:
            reader.follow(block)


@pytest.mark.parametrize(
    "chosen",
    [
        covering()[0] | {"project_name": "Order Jobs", "include_aiocache": True},
        covering()[0]
        | {"broker": "rabbitmq", "result_backend": "none", "worker_pool": "threads"}
        | {"include_sqlalchemy": False, "include_flower": False, "include_examples": False}
        | {"project_slug": "a-much-longer-name-for-a-service", "include_docker": False},
        covering()[0]
        | {"broker": "sqs", "result_backend": "redis", "worker_pool": "gevent"}
        | {"include_flower": False, "include_docker": False},
        covering()[0] | {"task_engine": "gunicorn", "include_aiocache": True},
    ],
    ids=["everything", "bare", "elsewhere", "without a broker"],
)
def test_every_block_works_as_typed(chosen: Answers, readings: dict[str, Future[None]]) -> None:
    readings[label(chosen)].result()
