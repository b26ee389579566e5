"""Which answers are tested: read from cookiecutter.json, so that a new option is tested at once."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

Answers = dict[str, str | bool]
Render = Callable[[Answers], Path]

TEMPLATE = Path(__file__).parent.parent
CONTEXT = json.loads((TEMPLATE / "cookiecutter.json").read_text())
QUESTIONS = {name: default for name, default in CONTEXT.items() if not name.startswith("_")}
OPTIONS: dict[str, list[str | bool]] = {
    name: [True, False] if isinstance(default, bool) else default
    for name, default in QUESTIONS.items()
    if isinstance(default, bool | list)
}
# They fill in a line and choose neither files nor code: every() lets them take turns.
METADATA = ("license", "python_version")
CHOOSING = {name: values for name, values in OPTIONS.items() if name not in METADATA}


def is_possible(answers: Mapping[str, str | bool]) -> bool:
    """Whether no rule of the template refuses what is answered so far."""
    answers = {**answers, **_settled(answers)}
    return not any(
        all(answers.get(name) == value for name, value in rule.items() if name != "because")
        for rule in CONTEXT["_impossible"]
    )


def is_repeated(answers: Mapping[str, str | bool]) -> bool:
    """Whether it differs from another combination only in what its engine settles itself."""
    return any(answers.get(name, first) != first for name, first in _firsts(_settled(answers)))


def is_wanted(answers: Mapping[str, str | bool]) -> bool:
    """Whether what is answered so far is in a combination that is tested."""
    return is_possible(answers) and not is_repeated(answers)


def _firsts(names: Iterable[str]) -> Iterator[tuple[str, str | bool]]:
    return ((name, OPTIONS[name][0]) for name in names)


def _settled(answers: Mapping[str, str | bool]) -> Mapping[str, str | bool]:
    found: Mapping[str, str | bool] = CONTEXT["_settled"].get(answers.get("task_engine"), {})
    return found


def every() -> list[Answers]:
    """All possible combinations of the options that choose files or code, each project once."""
    turns = [itertools.cycle(OPTIONS[name]) for name in METADATA]
    return [
        dict(zip(METADATA, map(next, turns), strict=True)) | answers
        for answers in combined()
        if is_wanted(answers)
    ]


def combined() -> Iterator[Answers]:
    """All combinations, the impossible ones too."""
    for values in itertools.product(*CHOOSING.values()):
        yield dict(zip(CHOOSING, values, strict=True))


def covering(
    strength: int = 2, crossed: Iterable[Sequence[str]] = (), is_lean: bool = False
) -> list[Answers]:
    """A few combinations in which every choice of so many answers occurs, the defaults first.

    Of the options in each group that is crossed, every pair of answers occurs too. In lean ones
    what nothing asks for is left out.
    """
    pairs = itertools.chain.from_iterable(_choices(group, 2) for group in crossed)
    wanted = {*_choices(OPTIONS, strength), *pairs}
    rows: list[Answers] = []
    row: Answers = {name: values[0] for name, values in OPTIONS.items()}
    while True:
        rows.append(row)
        wanted -= _exercised(row, wanted)
        if not wanted:
            return rows
        row = _extend(wanted, is_lean)


def label(answers: Answers) -> str:
    """A test id that says what differs between combinations."""
    words = [
        name.removeprefix("include_") if value is True else str(value)
        for name, value in answers.items()
        if value is not False
    ]
    return "-".join(words)


Choice = frozenset[tuple[str, str | bool]]


def _choices(options: Iterable[str], strength: int) -> Iterator[Choice]:
    for names in itertools.combinations(options, strength):
        if set(METADATA) <= set(names):
            continue
        for values in itertools.product(*(OPTIONS[name] for name in names)):
            if is_wanted(dict(zip(names, values, strict=True))):
                yield frozenset(zip(names, values, strict=True))


def _exercised(row: Answers, wanted: set[Choice]) -> set[Choice]:
    return {choice for choice in wanted if choice <= row.items()}


def _extend(wanted: set[Choice], is_lean: bool) -> Answers:
    """Start from a choice that is still wanted; give each other option its most useful value."""
    # Sorted, because sets differ from run to run and test ids must not.
    row: Answers = dict(min(wanted, key=lambda choice: sorted(map(str, choice))))
    for name in sorted(OPTIONS.keys() - row.keys(), key=list(OPTIONS).index):
        best = max(
            (value for value in OPTIONS[name] if is_wanted(row | {name: value})),
            key=lambda value: (
                len(_exercised(row | {name: value}, wanted)),
                is_lean and value is False,
            ),
        )
        row[name] = best
    return {name: row[name] for name in OPTIONS}
