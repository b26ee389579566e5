"""Plants faults in copies of this repository, one by one, and shows which test notices each."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
PROJECT = "{{cookiecutter.project_slug}}"
CACHE = 'CACHE = Path(__file__).parent.parent / ".cache"'
PLACES = {"<project>": PROJECT, "<package>": PROJECT + "/{{cookiecutter.__package_slug}}"}
# Only what pytest says of a test; a file that cannot be collected has no `::`.
VERDICT = re.compile(r"^(?:FAILED|ERROR) tests/(\S+::.+?)(?: - .*)?$", re.MULTILINE)
END_OF_OUTPUT = 3000
# One of them often waits for a worker.
AT_ONCE = 2


@dataclass(frozen=True)
class Mutant:
    """A fault, and the part of the default run that has to notice it."""

    name: str
    file: str
    old: str
    new: str
    # File and function, and which of its cases: an expression as for `pytest -k`.
    test: str
    # Words of the failure: one for another reason proves nothing.
    says: str
    cases: str = ""
    # Only these tests of the rendered project, when its whole suite would take minutes.
    inside: str = ""

    def path(self, folder: Path) -> Path:
        place, _, rest = self.file.partition("/")
        return folder / (f"{PLACES[place]}/{rest}" if place in PLACES else self.file)

    def expression(self) -> str:
        function = self.test.partition("::")[2]
        return f"({function} and ({self.cases}))" if self.cases else function


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        sys.exit(f"{path} holds {text.count(old)} times, not once:\n{old}")
    path.write_text(text.replace(old, new), "utf-8")


def read() -> list[Mutant]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return [Mutant(name, **table) for name, table in tables.items()]


def copy(folder: Path) -> None:
    """Copy what git knows or could know, and let it share the environments of this repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    # A test takes what git knows of the template.
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    # By its name here: what tests add to it must not lead through a copy that is gone by then.
    shared = str((ROOT / ".cache").resolve())
    replace_once(folder / "tests/environments.py", CACHE, f"CACHE = Path({shared!r})")


def test(watching: Sequence[Mutant], planted: Mutant | None) -> tuple[int, str]:
    """Run the tests that watch for these mutants, in a copy; their status and what they said."""
    with TemporaryDirectory(prefix="mutants-") as scratch:
        folder = Path(scratch)
        copy(folder)
        if planted:
            replace_once(planted.path(folder), planted.old, planted.new)
        if inside := " or ".join(sorted({mutant.inside for mutant in watching if mutant.inside})):
            settings = folder / PROJECT / "pyproject.toml"
            options = f'addopts = ["-k", "{inside}", '
            settings.write_text(settings.read_text("utf-8").replace("addopts = [", options))
        tests = sorted({f"tests/{mutant.test}" for mutant in watching})
        expression = " or ".join(sorted({mutant.expression() for mutant in watching}))
        command = ["-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", "-k", expression]
        done = subprocess.run(
            [sys.executable, *command, *tests],
            cwd=folder,
            # A server that is missing must not let a test be skipped.
            env=os.environ | {"CI": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout


def try_out(mutant: Mutant) -> bool:
    """Whether a mutant was caught. Prints by which test, or else why it counts as not caught."""
    started = time.monotonic()
    status, output = test([mutant], mutant)
    verdicts = VERDICT.findall(output)
    caught = status == 1 and bool(verdicts) and mutant.says in output
    if caught:
        outcome = f"caught by {verdicts[-1]}"
    elif status == 0:
        outcome = "SURVIVED"
    else:
        outcome = f"UNCLEAR: the tests end with {status}, but do not say: {mutant.says}"
        outcome += f"\n{output[-END_OF_OUTPUT:]}"
    print(f"{time.monotonic() - started:4.0f} s  {mutant.name}: {outcome}", flush=True)
    return caught


def holds_without(watching: Sequence[Mutant]) -> bool:
    """Whether the tests that watch for these mutants pass: what fails anyway catches none."""
    status, output = test(watching, None)
    if status:
        print(f"Without any fault the tests fail:\n{output[-END_OF_OUTPUT:]}")
    else:
        print(f"without a fault: {output.splitlines()[-1]}", flush=True)
    return status == 0


def main() -> int:
    mutants = read()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="try only these")
    parser.add_argument("--list", action="store_true", help="print the names")
    given = parser.parse_args()
    if given.list:
        print(*(mutant.name for mutant in mutants), sep="\n")
        return 0
    if unknown := set(given.names) - {mutant.name for mutant in mutants}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if not given.names or mutant.name in given.names]
    with TemporaryDirectory(prefix="mutants-") as scratch:
        for mutant in chosen:
            copy(Path(scratch))
            replace_once(mutant.path(Path(scratch)), mutant.old, mutant.new)

    whole = [mutant for mutant in chosen if not mutant.inside]
    narrowed = [mutant for mutant in chosen if mutant.inside]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        if not all(threads.map(holds_without, filter(None, (whole, narrowed)))):
            return 1
        caught = sum(threads.map(try_out, chosen))
    print(f"{caught} of {len(chosen)} mutants caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
