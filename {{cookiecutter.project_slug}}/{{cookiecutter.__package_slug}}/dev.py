"""The `dev` command: the whole service on this machine, from nothing, until Ctrl-C."""

import asyncio
import fcntl
import os
#{% if cookiecutter.include_api or cookiecutter.include_flower %}
import secrets
#{% endif %}
import signal
#{% if cookiecutter.include_sqlalchemy %}
import subprocess
#{% endif %}
import sys
#{% if cookiecutter.include_metrics %}
from collections import ChainMap
#{% endif %}
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import PythonFilter, awatch

from . import embedded_broker
#{% if cookiecutter.include_api or cookiecutter.include_examples or cookiecutter.include_flower or cookiecutter.include_metrics %}
from .ports import free_port
#{% endif %}
from .settings import Settings
from .supervisor import Service

PACKAGE = Path(__file__).parent
STATE = Path(".dev")
# Other terminals find the broker through it: settings.py reads it below `.env`.
ENVIRONMENT_FILE = STATE / "env"
COMMAND = "{{ cookiecutter.project_slug }}"


@dataclass
class Plan:
    """What to start, and what to tell the user once it runs."""

    # Where the services find each other; added to what the user has set.
    environment: dict[str, str] = field(default_factory=dict)
    broker: embedded_broker.EmbeddedBroker | None = None
    # Started first and stopped last.
    foundations: list[Service] = field(default_factory=list)
    # Replaced whenever the code changes.
    reloading: list[Service] = field(default_factory=list)
    # Started once the worker is ready: they ask it what it serves, and only once.
    others: list[Service] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def run() -> None:
    """Start everything and wait for Ctrl-C or SIGTERM."""
    STATE.mkdir(exist_ok=True)
    with _only_one_here():
        asyncio.run(_run(_plan()))


@contextmanager
def _only_one_here() -> Iterator[None]:
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"`{COMMAND} dev` runs in this folder already.") from None
        try:
            yield
        finally:
            ENVIRONMENT_FILE.unlink(missing_ok=True)


def _plan() -> Plan:
    settings = Settings(_env_file=".env")
    chosen = settings.model_fields_set
    plan = Plan()
    environment = {"LOG_FORMAT": "console", **os.environ}
    broker = embedded_broker.EmbeddedBroker(STATE / "broker")
    #{% if cookiecutter.__broker != "sqs" %}
    is_named = "celery_broker_url" in chosen
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    is_named = bool({"celery_broker_url", "sqs_queue_url_prefix"} & chosen)
    #{% endif %}
    if is_named:
        plan.hints.append("broker: the one that the settings name")
    else:
        plan.environment["CELERY_BROKER_URL"] = broker.url(0)
        #{% if cookiecutter.__broker != "redis" %}
        plan.hints.append("broker: one that stands in for {{ cookiecutter._brokers[cookiecutter.broker].title }}, see docs/celery.md")
        #{% endif %}
    #{% if cookiecutter.__broker != "redis" and cookiecutter.__result_backend == "redis" %}
    if "celery_result_backend" not in chosen:
        plan.environment["CELERY_RESULT_BACKEND"] = broker.url(1)
    #{% endif %}
    if plan.environment:
        plan.broker = broker
        plan.foundations.append(
            Service("broker", broker.command, environment, broker.configuration)
        )
    #{% if cookiecutter.__result_backend == "postgres" %}
    if settings.celery_result_backend.startswith("db+sqlite:"):
        results = STATE.resolve() / "results.sqlite3"
        plan.environment["CELERY_RESULT_BACKEND"] = f"db+sqlite:///{results}"
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    if "smtp_url" not in chosen:
        address = f"127.0.0.1:{free_port(1025)}"
        mailbox = ["-c", "aiosmtpd.handlers.Mailbox", str(STATE / "mail")]
        sink = [sys.executable, "-m", "aiosmtpd", "-n", "-l", address, *mailbox]
        plan.environment["SMTP_URL"] = f"smtp://{address}"
        plan.foundations.append(Service("mail", sink, environment))
        plan.hints.append(f"e-mail: kept in {STATE / 'mail'}, not sent")
    #{% endif %}
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", str(__package__)]
    # Celery finishes what runs on the first signal, and puts it back into its queue on the second.
    stop_signals = (signal.SIGTERM, signal.SIGQUIT)
    schedule = ["--schedule", str(STATE / "beat-schedule"), "--pidfile="]
    # Other workers would be greeted for a second at each start, and there are none.
    worker = [*celery, "worker", "--without-mingle", "--without-gossip"]
    #{% if cookiecutter.__worker_pool == "gevent" %}
    worker.append("--pool=gevent")
    #{% endif %}
    plan.reloading = [
        Service(
            "worker",
            worker,
            environment,
            ready_text=" ready.",
            stop_signals=stop_signals,
        ),
        Service("beat", [*celery, "beat", *schedule], environment),
        #{% if cookiecutter.include_sqlalchemy %}
        Service("outbox", [sys.executable, "-m", str(__package__), "outbox", "relay"], environment),
        #{% endif %}
    ]
    #{% if cookiecutter.include_api %}
    port = str(free_port(settings.api_port))
    key = settings.api_keys[0] if settings.api_keys else secrets.token_urlsafe(24)
    plan.environment |= {"API_HOST": "127.0.0.1", "API_PORT": port, "API_KEY": key}
    api = [sys.executable, "-m", str(__package__), "api"]
    plan.reloading.append(Service("api", api, environment))
    # Behind the # a browser keeps it to itself, and the page takes it from there.
    plan.hints.append(f"API and its page: http://127.0.0.1:{port}/#key={key}")
    #{% endif %}
    #{% if cookiecutter.include_metrics %}
    for index, service in enumerate(plan.reloading):
        # Two `dev` that start together would both find a port of our choice free.
        wanted = settings.metrics_port + index if settings.metrics_port else 0
        metrics_port = str(free_port(wanted))
        service.environment = ChainMap({"METRICS_PORT": metrics_port}, environment)
        plan.hints.append(f"metrics of {service.name}: http://127.0.0.1:{metrics_port}/metrics")
    #{% endif %}
    #{% if cookiecutter.include_flower %}
    flower_port = free_port(5555)
    flower = [*celery, "flower", "--address=127.0.0.1", f"--port={flower_port}"]
    flower += ["--persistent=true", f"--db={STATE / 'flower'}"]
    plan.others.append(Service("flower", flower, environment))
    login = ""
    if settings.flower_basic_auth is None:
        login = f"dev:{secrets.token_urlsafe(9)}"
        plan.environment["FLOWER_BASIC_AUTH"] = login
    plan.hints.append(f"Flower: http://{login}{'@' if login else ''}127.0.0.1:{flower_port}")
    #{% endif %}
    environment |= plan.environment
    for colour, service in enumerate([*plan.foundations, *plan.reloading, *plan.others], start=31):
        service.colour = colour
    return plan


async def _run(plan: Plan) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)

    async with asyncio.TaskGroup() as tasks:
        for service in plan.foundations:
            tasks.create_task(service.keep_running())
        try:
            await asyncio.to_thread(_prepare, plan)
            for service in plan.reloading:
                tasks.create_task(service.keep_running())
            tasks.create_task(_reload_on_change(plan, stopping))
            if await _worker_is_ready(plan, stopping):
                for service in plan.others:
                    tasks.create_task(service.keep_running())
                _greet(plan)
            await stopping.wait()
        finally:
            stopping.set()
            plan.reloading[0].say("stopping: what runs may finish, for a moment; the rest waits")
            await asyncio.gather(*(service.stop() for service in [*plan.reloading, *plan.others]))
            await asyncio.gather(*(service.stop() for service in plan.foundations))


def _prepare(plan: Plan) -> None:
    if plan.broker:
        plan.broker.wait_until_ready()
    ENVIRONMENT_FILE.touch(mode=0o600)
    lines = [f"{name}={value}\n" for name, value in plan.environment.items()]
    ENVIRONMENT_FILE.write_text("".join(lines))
    #{% if cookiecutter.include_sqlalchemy %}
    migrate = [sys.executable, "-m", "alembic", "upgrade", "head"]
    # Ctrl-C must not reach it: half a migration is worse than a second of waiting.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    if subprocess.run(migrate).returncode:
        raise SystemExit("The database could not be migrated; the reason is above.")
    #{% endif %}


async def _worker_is_ready(plan: Plan, stopping: asyncio.Event) -> bool:
    worker = plan.reloading[0]
    waits = [asyncio.create_task(event.wait()) for event in (worker.is_ready, stopping)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    return not stopping.is_set()


def _greet(plan: Plan) -> None:
    for line in [
        "ready. In another terminal:",
        f"    uv run {COMMAND} submit hello.greet name=Ada",
        *plan.hints,
        "Ctrl-C stops everything; queued jobs and results are kept.",
    ]:
        plan.reloading[0].say(line)


async def _reload_on_change(plan: Plan, stopping: asyncio.Event) -> None:
    async for changes in awatch(PACKAGE, watch_filter=PythonFilter(), stop_event=stopping):
        changed = ", ".join(sorted(Path(path).name for _, path in changes))
        for service in plan.reloading:
            service.say(f"{changed} changed: reloading")
        await asyncio.gather(*(service.replace() for service in plan.reloading))
