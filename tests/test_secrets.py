"""A rendered project has secrets of its own from the start, and keeps them to itself."""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from combinations import TEMPLATE, Render, covering
from post_gen_project import is_kept, write_secrets


def values(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.+)$", file.read_text(), re.MULTILINE))


def test_it_has_each_secret_that_its_containers_need(render: Render) -> None:
    for answers in covering():
        project = render(answers)
        compose, secrets = project / "compose.yaml", project / ".env"
        assert secrets.exists() == compose.exists() == answers["include_docker"]
        if secrets.exists():
            needed = re.findall(r"\$\{(\w+):\?", compose.read_text())
            assert set(needed) <= values(secrets).keys()
            assert stat.S_IMODE(secrets.stat().st_mode) == 0o600


def test_no_two_projects_have_the_same(fast_cookies: Any) -> None:
    first, second = (fast_cookies.bake(template=str(TEMPLATE)).project_path for _ in range(2))

    assert not {*values(first / ".env").values()} & {*values(second / ".env").values()}


def test_git_does_not_take_them(render: Render, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text((render(covering()[0]) / ".gitignore").read_text())
    (tmp_path / ".env").touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    seen = subprocess.check_output(["git", "status", "--short"], cwd=tmp_path, text=True)

    assert seen == "?? .gitignore\n"


def test_those_of_the_user_stay(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_PASSWORD=mine\n")
    write_secrets(tmp_path / ".env", "#REDIS_PASSWORD=\n")

    assert (tmp_path / ".env").read_text() == "REDIS_PASSWORD=mine\n"


def test_cruft_compares_projects_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    assert not is_kept({}, tmp_path / "temporary/cruft/order-jobs")
    assert is_kept({}, tmp_path / "order-jobs")
