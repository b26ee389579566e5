"""Commands as users run them: processes of their own; cookiecutter with its own configuration."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from combinations import TEMPLATE

COOKIECUTTER = (sys.executable, "-m", "cookiecutter")


def arguments(folder: Path) -> list[str]:
    """Those that let cookiecutter write into `folder/target` and remember in `folder/home`."""
    for name in ("target", "home"):
        (folder / name).mkdir(exist_ok=True)
    config = folder / "home/config.yaml"
    config.write_text(f"replay_dir: {config.parent}/replay\ncookiecutters_dir: {config.parent}\n")
    target = str(folder / "target")
    return ["--config-file", str(config), "--output-dir", target, str(TEMPLATE)]


def cookiecutter(
    folder: Path,
    *given: str,
    typed: str = "",
    command: tuple[str, ...] = COOKIECUTTER,
    first: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it; `first` is called in the new process before its program starts."""
    given = (*arguments(folder), *given)
    return subprocess.run(
        [*command, *given],
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        # Cookiecutter leaves a copy of each hook there.
        env=os.environ | {"TMPDIR": str(folder / "home")},
        preexec_fn=first,
    )


def interrupted(
    command: Sequence[str], when: str, environment: Mapping[str, str], timeout: float
) -> int:
    """The status of a command that Ctrl-C ended when it had printed this."""
    process = subprocess.Popen(
        command,
        cwd=TEMPLATE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if when in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    process.communicate(timeout=timeout)
    return process.returncode
