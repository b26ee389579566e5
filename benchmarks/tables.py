"""What was measured, as rounds of figures in a file and as tables in a page."""

import json
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .arena import Arena

FIGURES = Path(__file__).with_name("figures.json")
PAGE = Path(__file__).parent.parent / "docs/performance.md"
BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

Figures = dict[str, Any]


@dataclass(frozen=True)
class Row:
    name: str
    measure: Callable[[Arena], Mapping[str, float]]
    note: str = ""


@dataclass(frozen=True)
class Measurement:
    name: str
    # Exactly what is measured.
    title: str
    # Name of a figure -> its heading.
    columns: Mapping[str, str]
    rows: Sequence[Row]
    # Heading of the rows' notes.
    note: str = ""
    # Figures that are also shown as multiples of the first row's.
    compared: Mapping[str, str] = field(default_factory=dict)


def table(of: Figures) -> str:
    """One measurement's."""
    headings = [*filter(None, [of["note"]]), *of["columns"].values(), *of["compared"].values()]
    lines = [f"| | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
    for row in of["rows"]:
        cells = [row["note"]] if of["note"] else []
        cells += [_shown(row["figures"].get(name, [])) for name in of["columns"]]
        for name in of["compared"]:
            firsts = of["rows"][0]["figures"].get(name, [])
            # One of them may have failed.
            pairs = zip(row["figures"].get(name, []), firsts, strict=False)
            cells.append(_shown([one / first for one, first in pairs]))
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    number = of["rounds"]
    rounds = "1 round" if number == 1 else f"median (lowest to highest) of {number} rounds"
    size = "; a quick run" if of["quick"] else ""
    return f"{of['title']}; {rounds}{size}.\n\n" + "\n".join(lines) + "\n"


def _shown(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    """With three digits that count."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, digits):,.{max(0, digits)}f}"


def read() -> Figures:
    return dict(json.loads(FIGURES.read_text())) if FIGURES.exists() else {"measured": {}}


def page_with(figures: Figures, page: str) -> str:
    def filled(block: re.Match[str]) -> str:
        name = block[2]
        if name == "machine":
            return f"{block[1]}{machine(figures['machine'])}{block[3]}"
        of = figures["measured"].get(name)
        return f"{block[1]}{table(of)}{block[3]}" if of else block[0]

    return BLOCK.sub(filled, page)


def machine(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['cores']} cores, {about['processor']}; {about['system']}; {versions}.\n"


def write(figures: Figures) -> None:
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page_with(figures, PAGE.read_text()))
