"""Make cookiecutter render hundreds of projects in one process, with the same bytes as one by one.

It compiles every template anew for each project and starts an interpreter for each hook, which
takes ten times as long as the rendering. `test_render.py` compares the result with the real thing.
"""

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import Any

import cookiecutter.generate
import cookiecutter.hooks
import cookiecutter.main
import cookiecutter.prompt
import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.utils import create_env_with_context
from jinja2 import FileSystemLoader


def install(patch: pytest.MonkeyPatch) -> None:
    """Share compiled templates between bakes, and run hooks here."""
    environment: Any = None

    def shared_environment(context: dict[str, Any]) -> Any:
        nonlocal environment
        if environment is None:
            environment = create_env_with_context(context)
            environment.from_string = functools.cache(environment.from_string)
        return environment

    for module in (cookiecutter.generate, cookiecutter.hooks, cookiecutter.prompt):
        patch.setattr(module, "create_env_with_context", shared_environment)
    loader = functools.cache(lambda paths: FileSystemLoader(list(paths)))
    patch.setattr(cookiecutter.generate, "FileSystemLoader", lambda paths: loader(tuple(paths)))
    patch.setattr(
        cookiecutter.generate, "is_binary", functools.cache(cookiecutter.generate.is_binary)
    )
    patch.setattr(cookiecutter.hooks, "run_script", _run_hook_here)
    patch.setattr(cookiecutter.main, "dump", lambda *_: None)


def _run_hook_here(script: str, cwd: Path | str = ".") -> None:
    source = Path(script).read_text("utf-8")
    os.unlink(script)
    with contextlib.chdir(cwd), contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(compile(source, script, "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            if end.code:
                raise FailedHookException(f"hook ended with {end.code}") from end
