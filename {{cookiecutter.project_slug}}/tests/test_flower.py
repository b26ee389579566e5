"""Flower is never without a password."""

import runpy

import pytest

from {{ cookiecutter.__package_slug }}.settings import Settings


def test_flower_asks_for_the_password_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, flower_basic_auth="ada:secret")

    assert runpy.run_path("flowerconfig.py")["basic_auth"] == ["ada:secret"]


def test_flower_refuses_to_start_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, flower_basic_auth=None)

    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH"):
        runpy.run_path("flowerconfig.py")


def use(monkeypatch: pytest.MonkeyPatch, flower_basic_auth: str | None) -> None:
    settings = Settings(_env_file=None, flower_basic_auth=flower_basic_auth)
    monkeypatch.setattr("{{ cookiecutter.__package_slug }}.settings.settings", settings)
