"""What the service reads from its environment, checked once at start."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Settings(BaseSettings):
    """One field per environment variable; `.env` may set them too, and `dev` adds its own."""

    model_config = SettingsConfigDict(env_file=(".dev/env", ".env"), extra="ignore", frozen=True)

    # Where the jobs are kept, on a disk of this host: they survive a restart.
    jobs_dir: Path = Path("data/jobs")
    # How many jobs may wait in one queue. Further ones are refused until there is room.
    max_waiting: int = Field(default=10_000, gt=0)

    #{% if cookiecutter.include_sqlalchemy %}
    # PostgreSQL: postgresql+psycopg://user:password@host/database
    database_url: str = Field(
        default="sqlite+aiosqlite:///data/database.sqlite3",
        pattern=r"^(postgresql\+psycopg|sqlite\+aiosqlite)://",
    )

    #{% endif %}
    # Seconds after which a task that sets no limit of its own is ended.
    task_time_limit: int = Field(default=600, gt=0)
    # How often a job may be given to a worker whose process dies of it each time.
    max_deliveries: int = Field(default=5, gt=0)
    # How many dead letters are kept. With more the oldest are dropped.
    max_dead_letters: int = Field(default=10_000, gt=0)
    # Seconds that running jobs may take once the service is told to stop. What is not done by then
    # runs again after the next start.
    shutdown_timeout: int = Field(default=20, ge=0)
    # Processes that serve the API and its page.
    api_processes: int = Field(default=2, gt=0)

    #{% if cookiecutter.include_metrics %}
    # Where Prometheus asks the service, see docs/operations.md. Unset, nothing is counted. Whoever
    # can reach it may read: names of tasks and queues, and numbers.
    metrics_port: int | None = Field(default=None, gt=0, lt=65536)
    metrics_host: str = "127.0.0.1"

    #{% endif %}
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # auto: console on a terminal, json elsewhere.
    log_format: Literal["auto", "console", "json"] = "auto"
    # Whether reports of errors hold the values of variables, with whatever secrets are in them.
    log_values: bool = False

    #{% if cookiecutter.include_aiocache %}
    # memory:// is one cache per process; redis://host:6379/2 is one for all of them.
    cache_url: str = Field(default="memory://", pattern="^(memory|redis)://")

    #{% endif %}
    # What callers of the API name in the header X-API-Key; several, with commas, while one replaces
    # another. Without it the API does not start.
    api_key: str = ""
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, gt=0, lt=65536)
    # For each key, and for each process that serves the API.
    api_rate_limit: str = Field(default="600/minute", pattern="^[1-9][0-9]*/(second|minute|hour)$")
    # Bytes of one request.
    api_max_body: int = Field(default=1_000_000, gt=0)
    # Pages of these origins may use the API in a browser: https://example.com, several with commas.
    api_allowed_origins: str = ""
    #{% if cookiecutter.include_examples %}

    # Where the jobs read and write files. All workers must see the same folder.
    data_dir: Path = Path("data")
    # smtp://user:password@host:587, or smtps:// for TLS from the first byte.
    smtp_url: str = Field(default="smtp://localhost:1025", pattern="^smtps?://[^/]+$")
    email_from: str = "{{ cookiecutter.project_slug }}@localhost"
    #{% endif %}

    @property
    def api_keys(self) -> list[str]:
        return _listed(self.api_key)

    @property
    def api_origins(self) -> list[str]:
        return _listed(self.api_allowed_origins)

    @field_validator("api_key")
    @classmethod
    def _api_keys_are_long_enough(cls, keys: str) -> str:
        if any(len(key) < 16 for key in _listed(keys)):
            raise ValueError("a key that can be guessed is none: take 16 characters or more")
        return keys


def load() -> Settings:
    """Read the settings, or end the process with every problem in one message."""
    problems = list(_misspelt())
    try:
        settings = Settings()
    except ValidationError as error:
        # A default that depends on a wrong setting is not a second problem.
        found = [problem for problem in error.errors() if "default_factory" not in problem["type"]]
        problems += [_problem(**problem) for problem in found]
    if problems:
        raise SystemExit("\n  ".join(["The settings are wrong:", *problems]))
    return settings


def _misspelt() -> Iterator[str]:
    """Names in `.env` that are almost a setting. Other programs may keep theirs there too."""
    names = [name.upper() for name in Settings.model_fields]
    for name in dotenv_values(".env"):
        if name.upper() not in names:
            for meant in get_close_matches(name.upper(), names, n=1, cutoff=0.8):
                yield f"{name} in .env: no such setting; did you mean {meant}?"


def _problem(*, loc: tuple[int | str, ...], msg: str, input: Any, **_: Any) -> str:
    if not loc:
        return msg.removeprefix("Value error, ")
    name = str(loc[0]).upper()
    # A user without a password, or a password without a user, may be a password.
    secret = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@")
    value = "***" if name.endswith(("_AUTH", "_KEY")) else secret.sub(r"\1***@", str(input))
    return f"{name}={value}: {msg.removeprefix('Value error, ')}"


settings = load()
