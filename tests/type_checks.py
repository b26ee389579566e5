"""What mypy says of rendered projects: many of them in one run, which reads the libraries once."""

import hashlib
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from environments import OF_CONTAINERS, Superset, described

# More take no less time each, only more memory, and the first result is long in coming.
AT_ONCE = 30
IMPORT = re.compile(r"^( *)(?:from (\w+)(?=[. ])|import (\w+)$)", re.MULTILINE)


class TypeChecks:
    """Checks each distinct project once.

    One that lacks only the tests of the containers is checked with one that has them. Each becomes
    a package of its own, so that their modules, which have the same names, can be in one run. Only
    imports of a project's own modules are changed for that, each in its line.
    """

    def __init__(self, superset: Superset, scratch: Path) -> None:
        self._superset = superset
        self._scratch = scratch
        self._runs: dict[Path, tuple[Future[list[str]], str]] = {}
        self._numbers = count()
        cores = os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(cores)
        # No two runs may write to the same one at a time.
        self._caches: SimpleQueue[Path] = SimpleQueue()
        for number in range(cores):
            self._caches.put(scratch / f"cache-{number}")

    def submit(self, projects: Iterable[Path]) -> None:
        same: dict[str, list[Path]] = defaultdict(list)
        groups: dict[str, list[str]] = defaultdict(list)
        for project in projects:
            settings = repr(described(project)["tool"]["mypy"])
            digest = _digest(project, settings)
            if digest not in same:
                groups[settings].append(digest)
            same[digest].append(project)
        size = min(AT_ONCE, -(-len(same) // (os.cpu_count() or 1)))
        for digests in groups.values():
            for start in range(0, len(digests), size):
                trees = {
                    f"tree{next(self._numbers)}": same[one] for one in digests[start : start + size]
                }
                firsts = {name: max(alike, key=_has_containers) for name, alike in trees.items()}
                run = self._executor.submit(self._run, firsts)
                for name, alike in trees.items():
                    self._runs |= dict.fromkeys(alike, (run, name))

    def problems(self, project: Path) -> str:
        run, name = self._runs[project]
        told = [line for line in run.result() if line.startswith(f"{name}/")]
        return "\n".join(told).replace(f"{name}/", "").replace(f"{name}.", "")

    def __len__(self) -> int:
        return len({name for _, name in self._runs.values()})

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)

    def _run(self, projects: dict[str, Path]) -> list[str]:
        folder = self._scratch / next(iter(projects))
        for name, project in projects.items():
            _copy_as_package(project, folder, name)
            shutil.copyfile(project / "pyproject.toml", folder / "pyproject.toml")
        cache = self._caches.get()
        mypy = [self._superset.program("mypy"), "--cache-dir", str(cache), "--no-error-summary"]
        done = subprocess.run(
            [*mypy, "--explicit-package-bases", "."],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
        )
        self._caches.put(cache)
        shutil.rmtree(folder)
        # Whatever mypy tells of no project may concern each of them.
        told = done.stdout.splitlines()
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert {line.partition("/")[0] for line in told} <= projects.keys(), done.stdout
        return told


def _has_containers(project: Path) -> bool:
    return any((project / path).exists() for path in OF_CONTAINERS)


def _digest(project: Path, settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for path in sorted({*project.rglob("*.py")} - {project / path for path in OF_CONTAINERS}):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(project)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _copy_as_package(project: Path, folder: Path, name: str) -> None:
    # Tests import each other as if they were at the top.
    homes = {path.stem: f"{name}.tests" for path in (project / "tests").glob("*.py")}
    homes |= {path.stem: name for path in project.iterdir() if path.suffix in ("", ".py")}

    def with_home(found: re.Match[str]) -> str:
        indent, start, module = found.groups()
        home = homes.get(start or module)
        if not home:
            return found[0]
        return f"{indent}from {home}" + (f".{start}" if start else f" import {module}")

    for path in project.rglob("*.py"):
        target = folder / name / path.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(IMPORT.sub(with_home, path.read_text("utf-8")), "utf-8")
