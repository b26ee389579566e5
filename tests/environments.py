"""What each combination may import: the packages its pyproject.toml declares, and no others."""

import ast
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache, cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Seconds after which an environment of a previous week is deleted.
LONGEST_KEPT = 14 * 24 * 60 * 60
# The tests of the containers: they import nothing of the project, and no other test imports them.
OF_CONTAINERS = ("tests/containers.py", "tests/test_stack.py")
CACHE = Path(__file__).parent.parent / ".cache"


def described(project: Path) -> dict[str, Any]:
    """What a rendered project's pyproject.toml says."""
    return _parsed((project / "pyproject.toml").read_text("utf-8"))


_parsed = cache(tomllib.loads)


def requirements(project: Path, groups: bool = True) -> frozenset[str]:
    """What a rendered project declares; without its dependency groups, what production installs."""
    content = described(project)
    chosen = content["dependency-groups"].values() if groups else ()
    return frozenset(content["project"]["dependencies"]).union(*chosen)


class Superset:
    """One virtual environment with what all combinations need, kept between test runs."""

    def __init__(self, wanted: Iterable[str]) -> None:
        # Asked again for each project.
        self.view = cache(self._view)
        self._needs = cache(self._find_needs)
        self._members = cache(self._find_members)
        self._owners = cache(self._find_owners)
        lines = sorted(set(wanted))
        # A new one each week, so that newer versions of the packages are tried in time.
        week = str(date.today().isocalendar()[:2])
        key = hashlib.sha256("\n".join([sys.version, week, *lines]).encode()).hexdigest()[:16]
        for old in CACHE.glob("superset-*"):
            if time.time() - old.stat().st_mtime > LONGEST_KEPT:
                shutil.rmtree(old)
        self.folder = CACHE / f"superset-{key}"
        if not (self.folder / "complete").exists():
            python = self.folder / "bin" / "python"
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(self.folder))
            _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *lines)
            (self.folder / "complete").touch()

    @cached_property
    def bare_python(self) -> Path:
        """An interpreter of the same version with nothing installed beside the standard library."""
        folder = self.folder / "bare"
        if not folder.exists():
            _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        return folder / "bin" / "python"

    def program(self, name: str) -> str:
        """A command that was installed with the packages, such as ruff."""
        return str(self.folder / "bin" / name)

    @cached_property
    def site_packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @cached_property
    def _installed(self) -> dict[str, Distribution]:
        found = distributions(path=[str(self.site_packages)])
        return {canonicalize_name(distribution.name): distribution for distribution in found}

    def _view(self, wanted: frozenset[str]) -> Path:
        """A folder with links to just the packages that these requirements bring with them."""
        closure = self._closure(wanted)
        key = hashlib.sha256("\n".join(sorted(closure)).encode()).hexdigest()[:16]
        view = self.folder / "views" / key
        if not view.exists():
            view.parent.mkdir(exist_ok=True)
            # What is interrupted here must not be taken for a whole view.
            unfinished = Path(tempfile.mkdtemp(dir=view.parent))
            self._link(unfinished, closure)
            unfinished.rename(view)
        return view

    def _link(self, view: Path, closure: set[str], *folder: str) -> None:
        for member, owners in self._members(*folder).items():
            source = self.site_packages.joinpath(*folder, member)
            target = view.joinpath(*folder, member)
            if not owners & closure:
                continue
            if owners <= closure or source.is_file():
                target.symlink_to(source)
            else:  # a folder that distributions share, such as `google`
                target.mkdir()
                self._link(view, closure, *folder, member)

    def _closure(self, wanted: Iterable[str]) -> set[str]:
        """Names of the distributions that the requirements need, each with its chosen extras."""
        seen: set[tuple[str, str]] = set()
        left = [need for line in wanted for need in _distributions(line)]
        while left:
            need = left.pop()
            if need not in seen:
                seen.add(need)
                left.extend(self._needs(*need))
        return {name for name, _ in seen}

    def _find_needs(self, name: str, extra: str) -> list[tuple[str, str]]:
        lines = self._installed[name].requires or []
        return [need for line in lines for need in _distributions(line, extra)]

    @cached_property
    def _files(self) -> dict[str, list[tuple[str, ...]]]:
        """Distribution -> the paths of its files."""
        records = {name: found.read_text("RECORD") for name, found in self._installed.items()}
        return {
            name: [tuple(row[0].split("/")) for row in csv.reader((record or "").splitlines())]
            for name, record in records.items()
        }

    def _find_members(self, *folder: str) -> dict[str, set[str]]:
        """What lies in a folder -> the distributions that put it there."""
        found: dict[str, set[str]] = {}
        depth = len(folder)
        for name, paths in self._files.items():
            for path in paths:
                if path[:depth] == folder and path[depth] not in ("..", "__pycache__"):
                    found.setdefault(path[depth], set()).add(name)
        return found

    def _find_owners(self, module: str) -> set[str]:
        """The distributions that a module, or a name in a module, may come from."""
        owners: set[str] = set()
        folder: tuple[str, ...] = ()
        for part in module.split("."):
            members = self._members(*folder)
            inside = [members[name] for name in members if name.partition(".")[0] == part]
            if not inside:
                break
            owners = set().union(*inside)
            # Only a folder that distributions share has to be looked into.
            if len(owners) == 1:
                break
            folder += (part,)
        return owners

    def undeclared_imports(self, project: Path) -> dict[str, set[str]]:
        """Module -> files, for imports of packages that a project has only by way of another."""
        declared = {canonicalize_name(Requirement(line).name) for line in requirements(project)}
        found: dict[str, set[str]] = {}
        for path in project.rglob("*.py"):
            for module in _imported(path.read_bytes()):
                if (owners := self._owners(module)) and not owners & declared:
                    found.setdefault(module, set()).add(str(path.relative_to(project)))
        return found

    def names(self) -> Iterator[str]:
        """What a project may not be called: distributions, their modules and their commands."""
        for name, distribution in self._installed.items():
            yield name
            yield from (
                entry.name for entry in distribution.entry_points.select(group="console_scripts")
            )
        for top in self._members():
            module = re.sub(r"(\.cpython.*|\.abi3)?\.(so|py|pyd)$", "", top)
            if re.fullmatch(r"\w+", module):
                yield module


def _uv(*arguments: str) -> None:
    outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", *arguments], check=True, env=outside, timeout=600)


def _distributions(line: str, extra: str = "") -> list[tuple[str, str]]:
    """What a requirement asks for: a distribution, and each of its extras."""
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
        return []
    name = canonicalize_name(requirement.name)
    return [(name, chosen) for chosen in ("", *requirement.extras)]


@cache
def _imported(source: bytes) -> frozenset[str]:
    """The modules that a file imports, and what it imports from them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)
