"""The page about performance says what was measured, and the benchmark that measures it works."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from combinations import TEMPLATE
from command_line import interrupted

from benchmarks import MEASUREMENTS, measured
from benchmarks.tables import BLOCK, FIGURES, PAGE, Measurement, Row, page_with, read

TIMEOUT = 400
QUICK = ["uv", "run", "benchmark", "--quick", "--only-show", "--rounds", "1", "--only", "enqueue"]


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda each: each.name)
def test_each_measurement_was_made_as_it_is_now(measurement: Measurement) -> None:
    found = read()["measured"][measurement.name]

    assert found["title"] == measurement.title
    assert found["columns"] == measurement.columns
    assert [row["name"] for row in found["rows"]] == [row.name for row in measurement.rows]
    for row in found["rows"]:
        lengths = {name: len(values) for name, values in row["figures"].items()}
        wanted = lengths.keys() | measurement.columns.keys()
        assert lengths == dict.fromkeys(wanted, found["rounds"]), row["name"]


def test_the_page_shows_what_was_measured_and_no_more() -> None:
    page = PAGE.read_text()

    assert page == page_with(read(), page)
    names = sorted(name for _, name, _ in BLOCK.findall(page))
    assert names == sorted(["machine", *(each.name for each in MEASUREMENTS)])


def test_failures_are_told_all_at_once_and_the_others_are_measured() -> None:
    def fail(_: Any) -> dict[str, float]:
        raise RuntimeError("no worker")

    rows = [Row("one", fail), Row("two", lambda _: {"rate": 2.0}), Row("three", fail)]
    measurement = Measurement("tried", "Tried", {"rate": "Rate"}, rows)
    problems: list[str] = []
    arena: Any = SimpleNamespace(is_quick=True)

    found = measured(measurement, arena, 2, problems)

    assert [row["figures"] for row in found["rows"]] == [{}, {"rate": [2.0, 2.0]}, {}]
    assert ["one" in problems[0], "three" in problems[1]] == [True, True]


def left_in(folder: Path) -> list[str]:
    """Files, and processes that work there or were told to."""
    found = [str(path) for path in folder.glob("benchmark-*")]
    for process in Path("/proc").glob("[0-9]*"):
        # One that ends meanwhile is not left.
        with suppress(OSError):
            told = (process / "environ").read_bytes() + os.readlink(process / "cwd").encode()
            if str(folder).encode() in told:
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_the_benchmark_measures_shows_and_cleans_up(tmp_path: Path) -> None:
    before = FIGURES.read_bytes(), PAGE.read_bytes()

    done = subprocess.run(
        QUICK,
        cwd=TEMPLATE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    (measurement,) = [each for each in MEASUREMENTS if each.name == "enqueue"]
    for row in measurement.rows:
        assert f"| {row.name} | " in done.stdout
    assert before == (FIGURES.read_bytes(), PAGE.read_bytes())
    assert left_in(tmp_path) == []


def test_a_benchmark_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    command = [*QUICK[:-1], "drain"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    # The next row's worker is about to start, or runs.
    assert interrupted(command, "round 1", environment, TIMEOUT) == 130
    assert left_in(tmp_path) == []
