"""Breaks everything under load, for each broker and pool, and writes what it cost.

`uv run pytest tests/chaos.py` runs what rendered projects run with `-m chaos`, and keeps
docs/chaos.md. With `-k redis-prefork` the other columns stay as they are.
"""

import itertools
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from combinations import CONTEXT, OPTIONS, TEMPLATE, Answers, Render, covering
from servers import Servers
from suites import Suites

PAGE = TEMPLATE / "docs/chaos.md"
PAIRS = [
    (str(broker), str(pool))
    for broker, pool in itertools.product(OPTIONS["broker"], OPTIONS["worker_pool"])
]
PREFIX = "test_nothing_is_lost_when_"
# What is told of each fault, by the names that rendered projects give it.
TOLD = ("lost", "run twice", "longest send", "recovered in")
BEGINNING = """\
# What breaks, and what it costs

`uv run pytest tests/chaos.py` has written this page: it breaks something in a rendered project
while tasks are sent all the time, and counts. A rendered project does the same for itself with
`uv run pytest -m chaos`.

Each cell: how many accepted tasks were **lost**, how many **ran twice**, the **longest** that
sending one took, and how soon after the fault a new task **ran** again. What ran twice had run, but
its worker could not say so. The times are those of one busy machine. Where a cell says **fails**,
the test did not come to its end.
"""
FAILS = "fails"
# By broker and pool: what each fault did.
Table = dict[tuple[str, str], dict[str, str]]


def answers_for(broker: str, pool: str) -> Answers:
    """A small project, whose results are in Redis so that they can be away on their own."""
    chosen = {"broker": broker, "worker_pool": pool, "result_backend": "redis"}
    return covering()[0] | chosen | {"include_flower": False, "include_sqlalchemy": False}


def faults(project: Path) -> dict[str, str]:
    """What a rendered project breaks, and which test does."""
    return {
        name.replace("_", " "): f"tests/{path.name}::{PREFIX}{name}"
        for path in sorted((project / "tests").glob("test_*chaos.py"))
        for name in re.findall(rf"^def {PREFIX}(\w+)", path.read_text("utf-8"), re.MULTILINE)
    }


def read() -> Table:
    """What the page tells."""
    table: Table = defaultdict(dict)
    brokers = {CONTEXT["_brokers"][broker]["title"]: broker for broker, _ in PAIRS}
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    for section in text.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        (_, *pools), _, *body = rows
        for fault, *cells in body:
            for pool, cell in zip(pools, cells, strict=True):
                if cell != "-":
                    table[brokers[title], pool][fault] = cell
    return table


def write(table: Table) -> None:
    parts = [BEGINNING]
    for broker, pairs in itertools.groupby(PAIRS, key=lambda pair: pair[0]):
        pools = [pool for _, pool in pairs]
        known = sorted({fault for pool in pools for fault in table[broker, pool]})
        rows = [["while tasks are sent", *pools], ["---"] * (len(pools) + 1)]
        for fault in known:
            rows.append([fault, *(table[broker, pool].get(fault, "-") for pool in pools)])
        parts.append(f"## {CONTEXT['_brokers'][broker]['title']}\n")
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
    PAGE.write_text("\n".join(parts), "utf-8")


def _told(report: Path) -> str:
    """The cell of the one test in this report."""
    recorded = ElementTree.parse(report).iter("property")
    values = {entry.attrib["name"]: entry.attrib["value"] for entry in recorded}
    return " / ".join(values[name] for name in TOLD) if values else FAILS


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_nothing_is_lost(
    pair: tuple[str, str], render: Render, suites: Suites, servers: Servers, tmp_path: Path
) -> None:
    answers = answers_for(*pair)
    project, variables = render(answers), servers.needed_by(answers)
    report = tmp_path / "report.xml"
    problems = []
    for fault, test in faults(project).items():
        # The newer format has no place for what a test records.
        kept = (f"--junitxml={report}", "-o", "junit_family=xunit1")
        outcome = suites.submit(project, "-m", "chaos", *kept, test, **variables).result(400)
        table = read()
        table[pair][fault] = _told(report)
        write(table)
        if problem := outcome.problem():
            problems.append(f"{fault}: {problem}")

    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
