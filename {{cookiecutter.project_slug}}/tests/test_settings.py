"""Settings that cannot work end the process, with a message that says what to change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from {{ cookiecutter.__package_slug }}.settings import Settings, load

Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to start in, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """The last words of a process with these settings."""

    def message(**environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            load()
        return str(end.value)

    return message


def test_nothing_has_to_be_set() -> None:
    assert load().celery_broker_url == "{{ cookiecutter._brokers[cookiecutter.broker].url }}"


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("CELERY_BROKER_URL", "kafka://localhost", "others: see docs/celery.md"),
        ("CELERY_BROKER_URL", "localhost:6379", "this service speaks to"),
        ("WORKER_CONCURRENCY", "0", "greater than 0"),
        ("WORKER_CONCURRENCY", "many", "valid integer"),
        ("TASK_TIME_LIMIT", "-1", "greater than 0"),
        ("VISIBILITY_TIMEOUT", "", "valid integer"),
        ("LOG_LEVEL", "loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
    ],
)
def test_a_refusal_names_the_variable_its_value_and_the_way_out(
    refusal: Refusal, name: str, value: str, fix: str
) -> None:
    _, problem = refusal(**{name: value}).split("\n")

    assert problem.startswith(f"  {name}={value}: ")
    assert fix in problem


@pytest.mark.parametrize("limit", ["3600", "4000"])
def test_a_task_may_not_be_handed_out_again_while_it_runs(refusal: Refusal, limit: str) -> None:
    message = refusal(TASK_TIME_LIMIT=limit, VISIBILITY_TIMEOUT="3600")

    assert "VISIBILITY_TIMEOUT (3600 s) must be longer" in message
    assert f"TASK_TIME_LIMIT ({limit} s)" in message


def test_all_problems_are_told_at_once(refusal: Refusal) -> None:
    message = refusal(LOG_LEVEL="loud", WORKER_CONCURRENCY="0", CELERY_BROKER_URL="kafka://x")

    assert message.startswith("The settings are wrong:\n")
    for name in ("LOG_LEVEL", "WORKER_CONCURRENCY", "CELERY_BROKER_URL"):
        assert f"\n  {name}=" in message


@pytest.mark.parametrize("password", ["hunter2", "p@hunter2", "p/hunter2", "p:hunter2"])
def test_the_password_of_an_address_is_not_shown(refusal: Refusal, password: str) -> None:
    message = refusal(CELERY_BROKER_URL=f"kafka://ada:{password}@kafka.example.com/7")

    assert "hunter2" not in message
    assert "CELERY_BROKER_URL=kafka://***@kafka.example.com/7: " in message


@pytest.mark.parametrize("address", ["ada:hunter2@redis:6379", "redis:/:hunter2@redis/0"])
def test_the_password_of_an_address_that_is_none_is_not_shown(
    refusal: Refusal, address: str
) -> None:
    assert "hunter2" not in refusal(CELERY_BROKER_URL=address)


def test_a_misspelt_name_in_env_is_refused_and_its_value_is_not_shown(
    refusal: Refusal, folder: Path
) -> None:
    (folder / ".env").write_text("LOG_LEVLE=hunter2\n")

    message = refusal()
    assert "LOG_LEVLE in .env: no such setting; did you mean LOG_LEVEL?" in message
    assert "hunter2" not in message


def test_env_may_hold_what_other_programs_read(folder: Path) -> None:
    (folder / ".env").write_text("GITHUB_TOKEN=mine\nREDIS_PASSWORD=secret\n")

    assert load().log_level == "INFO"


def test_an_unknown_name_in_the_environment_is_somebody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_LEVLE", "DEBUG")

    assert load().log_level == "INFO"


def test_the_environment_wins_over_env_and_env_over_dev(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / ".dev").mkdir()
    (folder / ".dev/env").write_text("LOG_LEVEL=DEBUG\nLOG_FORMAT=json\nWORKER_CONCURRENCY=1\n")
    (folder / ".env").write_text("LOG_LEVEL=WARNING\nLOG_FORMAT=console\n")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    settings = load()

    assert settings.log_level == "ERROR"
    assert settings.log_format == "console"
    assert settings.worker_concurrency == 1
