"""The `dev` command: the whole service on this machine, from nothing, until Ctrl-C."""

import asyncio
import fcntl
import os
import secrets
import signal
#{% if cookiecutter.include_sqlalchemy %}
import subprocess
#{% endif %}
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import PythonFilter, awatch

from .ports import free_port
from .settings import Settings
from .supervisor import Service

PACKAGE = Path(__file__).parent
STATE = Path(".dev")
# Other terminals find the jobs through it: settings.py reads it below `.env`.
ENVIRONMENT_FILE = STATE / "env"
COMMAND = "{{ cookiecutter.project_slug }}"


@dataclass
class Plan:
    """What to start, and what to tell the user once it runs."""

    # Where the services find each other; added to what the user has set.
    environment: dict[str, str] = field(default_factory=dict)
    # Started first and stopped last.
    foundations: list[Service] = field(default_factory=list)
    # Replaced whenever the code changes.
    reloading: list[Service] = field(default_factory=list)
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
    if "jobs_dir" not in chosen:
        plan.environment["JOBS_DIR"] = str(STATE / "jobs")
    #{% if cookiecutter.include_examples %}
    if "smtp_url" not in chosen:
        address = f"127.0.0.1:{free_port(1025)}"
        mailbox = ["-c", "aiosmtpd.handlers.Mailbox", str(STATE / "mail")]
        sink = [sys.executable, "-m", "aiosmtpd", "-n", "-l", address, *mailbox]
        plan.environment["SMTP_URL"] = f"smtp://{address}"
        plan.foundations.append(Service("mail", sink, environment))
        plan.hints.append(f"e-mail: kept in {STATE / 'mail'}, not sent")
    #{% endif %}
    port = str(free_port(settings.api_port))
    key = settings.api_keys[0] if settings.api_keys else secrets.token_urlsafe(24)
    plan.environment |= {"API_HOST": "127.0.0.1", "API_PORT": port, "API_KEY": key}
    plan.reloading.append(
        Service(
            "jobs",
            [sys.executable, "-m", "gunicorn"],
            environment,
            ready_text="ASGI server listening",
            # The second one ends it at once.
            stop_signals=(signal.SIGTERM, signal.SIGQUIT),
        )
    )
    # Behind the # a browser keeps it to itself, and the page takes it from there.
    plan.hints.append(f"API and its page: http://127.0.0.1:{port}/#key={key}")
    #{% if cookiecutter.include_metrics %}
    metrics_port = str(free_port(settings.metrics_port or 0))
    # Not for what others start by hand, which would want the same one.
    environment["METRICS_PORT"] = metrics_port
    plan.hints.append(f"metrics: http://127.0.0.1:{metrics_port}/metrics")
    #{% endif %}
    environment |= plan.environment
    for colour, service in enumerate([*plan.foundations, *plan.reloading], start=31):
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
            if await _is_ready(plan, stopping):
                _greet(plan)
            await stopping.wait()
        finally:
            stopping.set()
            plan.reloading[0].say("stopping: what runs may finish, for a moment; the rest waits")
            await asyncio.gather(*(service.stop() for service in plan.reloading))
            await asyncio.gather(*(service.stop() for service in plan.foundations))


def _prepare(plan: Plan) -> None:
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


async def _is_ready(plan: Plan, stopping: asyncio.Event) -> bool:
    waits = [asyncio.create_task(event.wait()) for event in (plan.reloading[0].is_ready, stopping)]
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
            service.say(f"{changed} changed: restarting")
            await service.replace()
