"""What the service reads from its environment, checked once at start."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self
#{% if cookiecutter.__broker == "sqs" or "redis" == cookiecutter.__broker == cookiecutter.__result_backend %}
from urllib.parse import urlsplit
#{% endif %}

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BROKER_SCHEMES = ({{ cookiecutter._brokers[cookiecutter.broker].schemes }})
#{% if cookiecutter.__broker == "redis" and cookiecutter.__result_backend == "redis" %}


def _beside(celery_broker_url: str) -> str:
    if celery_broker_url.startswith("memory://"):
        return "cache+memory://"
    url = urlsplit(celery_broker_url)
    database = url.path.removeprefix("/") or "0"
    if not database.isdigit():
        return celery_broker_url
    # A Redis has 16 databases unless it is told otherwise.
    return url._replace(path=f"/{(int(database) + 1) % 16}").geturl()
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" and cookiecutter.include_sqlalchemy %}


def _in_database(database_url: str) -> str:
    if database_url.startswith("postgresql"):
        return f"db+{database_url}"
    # SQLite lets one process write at a time: results must not wait for a long transaction.
    return "db+sqlite:///results.sqlite3"
#{% endif %}
#{% if cookiecutter.include_api %}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
#{% endif %}


class Settings(BaseSettings):
    """One field per environment variable; `.env` may set them too, and `dev` adds its broker."""

    model_config = SettingsConfigDict(env_file=(".dev/env", ".env"), extra="ignore", frozen=True)

    # Celery's own names: it reads these two itself, so any other name would be a second truth.
    #{% if cookiecutter.__broker != "sqs" %}
    celery_broker_url: str = "{{ cookiecutter._brokers[cookiecutter.broker].url }}"
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    # The queues are made beforehand; the address of each is this, followed by its name. One that
    # begins with http:// leads to a server that stands in for AWS.
    sqs_queue_url_prefix: str = Field(
        default="http://localhost:5000/123456789012/{{ cookiecutter.project_slug }}-",
        pattern="^https?://[^/]+/",
    )
    aws_region: str = "us-east-1"
    # Unless set: the host of the queues. Credentials come from where AWS' own library finds them.
    celery_broker_url: str = Field(
        default_factory=lambda known: f"sqs://{urlsplit(known['sqs_queue_url_prefix']).netloc}"
    )
    #{% endif %}

    #{% if cookiecutter.include_sqlalchemy %}
    # PostgreSQL: postgresql+psycopg://user:password@host/database
    database_url: str = Field(
        default="sqlite+aiosqlite:///data/database.sqlite3",
        pattern=r"^(postgresql\+psycopg|sqlite\+aiosqlite)://",
    )

    #{% endif %}
    #{% if cookiecutter.__broker == "redis" and cookiecutter.__result_backend == "redis" %}
    # Unless set: the broker's own server, the database after the broker's.
    celery_result_backend: str = Field(
        default_factory=lambda known: _beside(known["celery_broker_url"])
    )
    #{% endif %}
    #{% if cookiecutter.__broker != "redis" and cookiecutter.__result_backend == "redis" %}
    celery_result_backend: str = "redis://localhost:6379/0"
    #{% endif %}
    #{% if cookiecutter.__result_backend == "postgres" and not cookiecutter.include_sqlalchemy %}
    # PostgreSQL: db+postgresql+psycopg://user:password@host/database
    celery_result_backend: str = "db+sqlite:///results.sqlite3"
    #{% endif %}
    #{% if cookiecutter.__result_backend == "postgres" and cookiecutter.include_sqlalchemy %}
    # Unless set: the PostgreSQL that holds the service's own tables.
    celery_result_backend: str = Field(
        default_factory=lambda known: _in_database(known["database_url"])
    )
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    # Where results are stored, if they are.
    celery_result_backend: str | None = None
    #{% endif %}
    #{% if cookiecutter.__broker == "redis" %}
    # The Redis that keeps locks, and what ran once. Unless set: the broker's.
    locks_url: str = Field(default_factory=lambda known: known["celery_broker_url"])
    #{% endif %}
    #{% if cookiecutter.__broker != "redis" and cookiecutter.__result_backend == "redis" %}
    # The Redis that keeps locks, and what ran once. Unless set: that of the results.
    locks_url: str = Field(default_factory=lambda known: known["celery_result_backend"])
    #{% endif %}

    #{% if cookiecutter.__worker_pool == "prefork" %}
    # How many tasks one worker runs at a time. Celery's default, a process per core of the host,
    # ignores the limits of a container.
    #{% endif %}
    #{% if cookiecutter.__worker_pool != "prefork" %}
    # How many tasks one worker runs at a time, all in one process.
    #{% endif %}
    worker_concurrency: int = Field(default={{ cookiecutter._pools[cookiecutter.worker_pool].concurrency }}, gt=0)
    #{% if cookiecutter.__worker_pool != "threads" %}
    # Seconds after which a task that sets no limit of its own is ended. It travels with the task,
    # so it must be the same wherever tasks are sent from.
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "threads" %}
    # Seconds that a task may take. A thread cannot be ended, so this is for the checks below only.
    #{% endif %}
    task_time_limit: int = Field(default=600, gt=0)
    #{% if cookiecutter.__broker == "redis" %}
    # Whether tasks are fetched so that none is lost when its worker is killed: redis_transport.py.
    reliable_fetch: bool = True
    #{% endif %}
    #{% if cookiecutter.__broker == "redis" and cookiecutter.__worker_pool != "gevent" %}
    # Seconds without a sign of life after which a worker's tasks go to another one.
    task_lease: float = Field(default=8, gt=0)
    #{% endif %}
    #{% if cookiecutter.__broker == "redis" and cookiecutter.__worker_pool == "gevent" %}
    # Seconds without a sign of life after which a worker's tasks go to another one. A task that
    # computes for longer holds up the signs, too.
    task_lease: float = Field(default=30, gt=0)
    #{% endif %}
    #{% if cookiecutter.__broker == "redis" %}
    # The same for workers that give no signs: those of plain Celery, or without RELIABLE_FETCH.
    #{% endif %}
    #{% if cookiecutter.__broker == "rabbitmq" %}
    # Seconds after which RabbitMQ takes a task that was not acknowledged from a worker that lives:
    # its consumer timeout, which is set there. The task of a dead worker does not wait.
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    # Seconds for which a worker claims what SQS hands out. What is not acknowledged by then goes to
    # another one. SQS hides nothing for more than twelve hours.
    visibility_timeout: int = Field(default={{ cookiecutter._brokers[cookiecutter.broker].visibility_timeout }}, gt=0, le=12 * 60 * 60)
    #{% endif %}
    #{% if cookiecutter.__broker != "sqs" %}
    visibility_timeout: int = Field(default={{ cookiecutter._brokers[cookiecutter.broker].visibility_timeout }}, gt=0)
    #{% endif %}
    #{% if cookiecutter.include_sqlalchemy %}
    # Seconds after which a task from the outbox that was sent and is not done is sent again, and
    # twice as many each time after that. Unless set: VISIBILITY_TIMEOUT, as no task takes longer.
    outbox_resend_after: float = Field(
        default_factory=lambda known: float(known["visibility_timeout"]), gt=0
    )
    #{% endif %}

    # Seconds that sending a task may take before it is an error, which is certain after twice as
    # many. A task that sends another one waits longer.
    publish_timeout: float = Field(default=0.8, gt=0)
    # How often a task may be delivered whose worker or process dies of it each time. After that it
    # is buried.
    max_deliveries: int = Field(default=5, gt=0)
    # How many dead letters are kept. With one more the oldest is dropped: a broker that is full of
    # them would take no tasks.
    max_dead_letters: int = Field(default=10_000, gt=0)
    # Seconds that running tasks may take once a worker is told to stop. What is not done by then
    # goes back to the broker. Who kills the worker must wait a little longer.
    shutdown_timeout: float = Field(default=20, ge=0)
    # Where a worker and beat give signs of life, if they do: see docs/deployment.md.
    health_dir: Path | None = None

    #{% if cookiecutter.include_metrics %}
    # Where Prometheus asks this process, see docs/operations.md. Unset, nothing is counted. Whoever
    # can reach it may read: names of tasks and queues, and numbers.
    metrics_port: int | None = Field(default=None, gt=0, lt=65536)
    metrics_host: str = "127.0.0.1"

    #{% endif %}
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # auto: console on a terminal, json elsewhere.
    log_format: Literal["auto", "console", "json"] = "auto"
    # Whether the log holds arguments and results, with whatever secrets are in them.
    log_values: bool = False

    #{% if cookiecutter.include_aiocache %}
    # memory:// is one cache per process; redis://host:6379/2 is one for all of them.
    cache_url: str = Field(default="memory://", pattern="^(memory|redis)://")

    #{% endif %}
    #{% if cookiecutter.include_api %}
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

    #{% endif %}
    #{% if cookiecutter.include_flower %}
    # user:password of Flower's page, which shows arguments and can stop workers.
    flower_basic_auth: str | None = Field(default=None, pattern="^[^:]+:.+$")

    #{% endif %}
    #{% if cookiecutter.include_examples %}
    # Where the jobs read and write files. All workers must see the same folder.
    data_dir: Path = Path("data")
    # smtp://user:password@host:587, or smtps:// for TLS from the first byte.
    smtp_url: str = Field(default="smtp://localhost:1025", pattern="^smtps?://[^/]+$")
    email_from: str = "{{ cookiecutter.project_slug }}@localhost"

    #{% endif %}
    #{% if cookiecutter.include_api %}
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

    #{% endif %}
    @field_validator("celery_broker_url")
    @classmethod
    def _broker_is_supported(cls, url: str) -> str:
        scheme = url.partition("://")[0]
        if scheme not in BROKER_SCHEMES:
            supported = ", ".join(f"{scheme}://" for scheme in BROKER_SCHEMES)
            raise ValueError(f"this service speaks to {supported}; others: see docs/celery.md")
        #{% if cookiecutter.__broker == "redis" %}
        if scheme == "rediss" and "ssl_cert_reqs=" not in url:
            # Kombu would not check the certificate then, and tell nobody but the log.
            raise ValueError("add ?ssl_cert_reqs=required, or the certificate is not verified")
        #{% endif %}
        return url

    @model_validator(mode="after")
    def _redelivery_waits_for_the_time_limit(self) -> Self:
        if self.visibility_timeout <= self.task_time_limit:
            raise ValueError(
                f"VISIBILITY_TIMEOUT ({self.visibility_timeout} s) must be longer than "
                f"TASK_TIME_LIMIT ({self.task_time_limit} s), or a task runs again while it "
                "still runs"
            )
        return self
    #{% if cookiecutter.include_sqlalchemy %}

    @model_validator(mode="after")
    def _outbox_waits_for_the_time_limit(self) -> Self:
        if self.outbox_resend_after <= self.task_time_limit:
            raise ValueError(
                f"OUTBOX_RESEND_AFTER ({self.outbox_resend_after:g} s) must be longer than "
                f"TASK_TIME_LIMIT ({self.task_time_limit} s), or a task is sent again while it "
                "still runs"
            )
        return self
    #{% endif %}


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
