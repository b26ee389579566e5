"""Which answers are tested: read from cookiecutter.json, so that a new option is tested at once."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

Answers = dict[str, str | bool]

TEMPLATE = Path(__file__).parent.parent
QUESTIONS = {
    name: default
    for name, default in json.loads((TEMPLATE / "cookiecutter.json").read_text()).items()
    if not name.startswith("_")
}
OPTIONS: dict[str, list[str | bool]] = {
    name: [True, False] if isinstance(default, bool) else default
    for name, default in QUESTIONS.items()
    if isinstance(default, bool | list)
}
# They fill in a line and choose neither files nor code: every() lets them take turns.
METADATA = ("license", "python_version")


def every() -> list[Answers]:
    """All combinations of the options that choose files or code."""
    chosen = {name: values for name, values in OPTIONS.items() if name not in METADATA}
    turns = [itertools.cycle(OPTIONS[name]) for name in METADATA]
    return [
        dict(zip(METADATA, map(next, turns), strict=True)) | dict(zip(chosen, values, strict=True))
        for values in itertools.product(*chosen.values())
    ]


def covering(strength: int = 2) -> list[Answers]:
    """A few combinations in which every choice of so many answers occurs, the defaults first."""
    wanted = set(_choices(strength))
    rows = [{name: values[0] for name, values in OPTIONS.items()}]
    wanted -= _exercised(rows[0], strength)
    while wanted:
        rows.append(_extend(wanted, strength))
        wanted -= _exercised(rows[-1], strength)
    return rows


def label(answers: Answers) -> str:
    """A test id that says what differs between combinations."""
    words = [
        name.removeprefix("include_") if value is True else str(value)
        for name, value in answers.items()
        if value is not False
    ]
    return "-".join(words)


Choice = frozenset[tuple[str, str | bool]]


def _choices(strength: int) -> Iterator[Choice]:
    for names in itertools.combinations(OPTIONS, strength):
        if set(METADATA) <= set(names):
            continue
        for values in itertools.product(*(OPTIONS[name] for name in names)):
            yield frozenset(zip(names, values, strict=True))


def _exercised(row: Answers, strength: int) -> set[Choice]:
    return {frozenset(choice) for choice in itertools.combinations(row.items(), strength)}


def _extend(wanted: set[Choice], strength: int) -> Answers:
    """Start from a choice that is still wanted; give each other option its most useful value."""
    # Sorted, because sets differ from run to run and test ids must not.
    row: Answers = dict(min(wanted, key=lambda choice: sorted(map(str, choice))))
    for name in sorted(OPTIONS.keys() - row.keys(), key=list(OPTIONS).index):
        best = max(
            OPTIONS[name],
            key=lambda value: len(_exercised(row | {name: value}, strength) & wanted),
        )
        row[name] = best
    return {name: row[name] for name in OPTIONS}
