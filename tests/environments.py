"""What each combination may import: the packages its pyproject.toml declares, and no others."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Seconds after which an environment of a previous week is deleted.
LONGEST_KEPT = 14 * 24 * 60 * 60
CACHE = Path(__file__).parent.parent / ".cache"


def requirements(project: Path, groups: bool = True) -> frozenset[str]:
    """What a rendered project declares; without its dependency groups, what production installs."""
    content = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    chosen = content["dependency-groups"].values() if groups else ()
    return frozenset(content["project"]["dependencies"]).union(*chosen)


class Superset:
    """One virtual environment with what all combinations need, kept between test runs."""

    def __init__(self, wanted: Iterable[str]) -> None:
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

    def view(self, wanted: frozenset[str]) -> Path:
        """A folder with links to just the packages that these requirements bring with them."""
        closure = self._closure(wanted)
        key = hashlib.sha256("\n".join(sorted(closure)).encode()).hexdigest()[:16]
        view = self.folder / "views" / key
        if not view.exists():
            view.mkdir(parents=True)
            for name in closure:
                for top in self._top_level(name):
                    (view / top).symlink_to(self.site_packages / top)
        return view

    def _closure(self, wanted: Iterable[str]) -> set[str]:
        """Names of the distributions that the requirements need, each with its chosen extras."""
        seen: set[tuple[str, str]] = set()
        left = [(Requirement(line), "") for line in wanted]
        while left:
            requirement, extra = left.pop()
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            for chosen in ("", *requirement.extras):
                if (name, chosen) not in seen:
                    seen.add((name, chosen))
                    needs = self._installed[name].requires or []
                    left.extend((Requirement(line), chosen) for line in needs)
        return {name for name, _ in seen}

    def _top_level(self, name: str) -> set[str]:
        files = self._installed[name].files or []
        tops = {path.parts[0] for path in files}
        return {top for top in tops if top not in ("..", "__pycache__")}

    def undeclared_imports(self, project: Path) -> dict[str, set[str]]:
        """Module -> files, for imports of packages that a project has only by way of another."""
        declared = {canonicalize_name(Requirement(line).name) for line in requirements(project)}
        owners = {
            re.sub(r"\.py$", "", top): name
            for name in self._installed
            for top in self._top_level(name)
        }
        found: dict[str, set[str]] = {}
        for path in project.rglob("*.py"):
            for module in _imported(ast.parse(path.read_text("utf-8"))):
                if module in owners and owners[module] not in declared:
                    found.setdefault(module, set()).add(str(path.relative_to(project)))
        return found

    def names(self) -> Iterator[str]:
        """What a project may not be called: distributions, their modules and their commands."""
        for name, distribution in self._installed.items():
            yield name
            yield from (
                entry.name for entry in distribution.entry_points.select(group="console_scripts")
            )
            for top in self._top_level(name):
                module = re.sub(r"(\.cpython.*|\.abi3)?\.(so|py|pyd)$", "", top)
                if re.fullmatch(r"\w+", module):
                    yield module


def _uv(*arguments: str) -> None:
    outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", *arguments], check=True, env=outside, timeout=600)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
