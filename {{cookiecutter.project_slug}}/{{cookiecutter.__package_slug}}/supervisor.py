"""Keeps the processes of `dev` running, marks their output, and leaves none behind."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

# Seconds a process gets after each signal before the next one follows.
PATIENCE = 10.0
# Seconds between a crash and the next start, doubled each time up to the longest.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# Bytes of output. At a longer line its reader would fail, and its writer wait for ever.
LONGEST_LINE = 2**30


@dataclass
class Service:
    """One process that is started again whenever it ends, until it is told to stop."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    standard_input: str = ""
    # A line of output that holds this text means that the service does its work.
    ready_text: str = ""
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    colour: int = 36
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _is_stopping: bool = False
    # Ends the process that runs, or the pause before the next one.
    _interruption: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, line: str) -> None:
        mark = f"{self.name:<7}|"
        if sys.stdout.isatty():
            mark = f"\033[{self.colour}m{mark}\033[0m"
        print(mark, line, flush=True)  # noqa: T201

    async def keep_running(self) -> None:
        pause = SHORTEST_PAUSE
        while not self._is_stopping:
            self._interruption.clear()
            started = time.monotonic()
            status = await self._run_once()
            if self._interruption.is_set():
                continue
            if time.monotonic() - started > LONGEST_PAUSE:
                pause = SHORTEST_PAUSE
            self.say(f"ended with status {status}; starts again in {pause:.0f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._interruption.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def replace(self) -> None:
        """Stop the process and let another one take its place at once."""
        self._interruption.set()
        await self._end_process()

    async def stop(self) -> None:
        self._is_stopping = True
        self._interruption.set()
        await self._end_process()

    async def _run_once(self) -> int:
        process = self._process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.environment),
            # Ctrl-C in the terminal must reach the supervisor alone, which then stops the others.
            start_new_session=True,
            preexec_fn=_end_with_parent,
            limit=LONGEST_LINE,
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(self.standard_input.encode())
        process.stdin.close()
        if self._interruption.is_set():  # while the process was made, and could not be told
            await self._end_process()
        output = asyncio.create_task(self._relay(process.stdout))
        status = await process.wait()
        # A killed worker leaves pool processes behind, which hold its place and its output.
        _signal_group(process, signal.SIGKILL)
        await output
        return status

    async def _relay(self, output: asyncio.StreamReader) -> None:
        while chunk := await output.readline():
            line = chunk.decode(errors="replace").rstrip()
            self.say(line)
            if self.ready_text and self.ready_text in line:
                self.is_ready.set()

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        for stop_signal in self.stop_signals:
            with suppress(ProcessLookupError):
                process.send_signal(stop_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), PATIENCE)
                return
        _signal_group(process, signal.SIGKILL)
        await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if sys.platform == "linux":
    _LIBC = ctypes.CDLL(None)
    _PR_SET_PDEATHSIG = 1

    def _end_with_parent() -> None:
        # When the supervisor itself is killed, nobody else would end its processes. On a milder
        # signal a worker would first finish its tasks, for as long as their time limits.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

else:

    def _end_with_parent() -> None:
        """Only Linux ends a process together with its parent."""
