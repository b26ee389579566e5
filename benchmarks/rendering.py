"""What working on the template takes: a render, and the tests that render."""

import shutil
import subprocess
import sys
import time
from functools import partial

from .arena import TEMPLATE, Arena, render
from .tables import Measurement, Row

# Seconds that none of it takes.
TIMEOUT = 1800


def one(arena: Arena) -> dict[str, float]:
    folder = arena.folder / "rendered-once"
    began = time.monotonic()
    render(folder, {})
    seconds = time.monotonic() - began
    shutil.rmtree(folder)
    return {"seconds": seconds}


def tests(_: Arena, options: tuple[str, ...]) -> dict[str, float]:
    command = [sys.executable, "-m", "pytest", "--quiet", "tests/test_render.py", *options]
    began = time.monotonic()
    done = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, timeout=TIMEOUT)
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}")
    return {"seconds": seconds}


RENDERING = ("-k", "not types_are_sound")

TEMPLATE_TIMES = Measurement(
    "template",
    "Wall time, with the packages of the tests installed",
    {"seconds": "Seconds"},
    [
        Row("`cookiecutter --no-input`, with the default answers", one),
        Row(
            "`pytest tests/test_render.py -k 'not types_are_sound'`: every pair of answers "
            "rendered, linted and compared with what is expected",
            partial(tests, options=RENDERING),
        ),
        Row(
            "the same with `--every --part 1/100`: a hundredth of all combinations",
            partial(tests, options=("--every", "--part", "1/100", *RENDERING)),
        ),
    ],
)
