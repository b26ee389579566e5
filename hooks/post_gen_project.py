"""Delete what belongs to options the user did not choose, make secrets, say what to type next."""

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "{{ cookiecutter.__package_slug }}"

# What an engine has in the place of the files of that name, or beside them.
ENGINES = Path("engines")

# What only Celery needs; another engine may have something else of that name.
ONLY_CELERY = [
    "docs/celery.md",
    "docs/once-only.md",
    "docs/outbox.md",
    "migrations/versions/0002_outbox.py",
    "migrations/versions/0003_leases.py",
    "tests/chaos.py",
    "tests/live_api.py",
    "tests/live_service.py",
    "tests/memory_store.py",
    "tests/test_api_cancel.py",
    "tests/test_api_live.py",
    "tests/test_api_server.py",
    "tests/test_api_store.py",
    "tests/test_api_watching.py",
    "tests/test_autoscale.py",
    "tests/test_beat.py",
    "tests/test_beat_metrics.py",
    "tests/test_chaos.py",
    "tests/test_consumer.py",
    "tests/test_database_leases.py",
    "tests/test_dead_letters.py",
    "tests/test_dead_letters_command.py",
    "tests/test_dev.py",
    "tests/test_fire_and_forget.py",
    "tests/test_flower.py",
    "tests/test_gevent_control.py",
    "tests/test_gevent_pool.py",
    "tests/test_health.py",
    "tests/test_large_chaos.py",
    "tests/test_leaving.py",
    "tests/test_live.py",
    "tests/test_locks.py",
    "tests/test_logs.py",
    "tests/test_long_delays.py",
    "tests/test_malformed_messages.py",
    "tests/test_metrics.py",
    "tests/test_once_only.py",
    "tests/test_one_process_poison.py",
    "tests/test_one_process_pool.py",
    "tests/test_outbox.py",
    "tests/test_outbox_losses.py",
    "tests/test_poison.py",
    "tests/test_postgres_results.py",
    "tests/test_prefork_chaos.py",
    "tests/test_prefork_control.py",
    "tests/test_prefork_poison.py",
    "tests/test_prefork_pool.py",
    "tests/test_progress.py",
    "tests/test_rabbitmq_broker.py",
    "tests/test_rabbitmq_chaos.py",
    "tests/test_redis_broker.py",
    "tests/test_redis_chaos.py",
    "tests/test_redis_results.py",
    "tests/test_redis_transport.py",
    "tests/test_remote_control.py",
    "tests/test_results_beside_broker.py",
    "tests/test_results_chaos.py",
    "tests/test_sending.py",
    "tests/test_settings.py",
    "tests/test_signs_of_life.py",
    "tests/test_sqs_broker.py",
    "tests/test_stack.py",
    "tests/test_stopping.py",
    "tests/test_telemetry.py",
    "tests/test_tls.py",
    "tests/test_watching.py",
    "tests/test_wiring.py",
    "tests/test_workflows.py",
    "tests/unreliable_network.py",
    f"{PACKAGE}/api/server.py",
    f"{PACKAGE}/beat.py",
    f"{PACKAGE}/broker.py",
    f"{PACKAGE}/celery.py",
    f"{PACKAGE}/consumer.py",
    f"{PACKAGE}/counted_request.py",
    f"{PACKAGE}/database_leases.py",
    f"{PACKAGE}/dead_letters.py",
    f"{PACKAGE}/embedded_broker.py",
    f"{PACKAGE}/health.py",
    f"{PACKAGE}/leases.py",
    f"{PACKAGE}/locks.py",
    f"{PACKAGE}/metrics_server.py",
    f"{PACKAGE}/once_only.py",
    f"{PACKAGE}/outbox.py",
    f"{PACKAGE}/outbox_cli.py",
    f"{PACKAGE}/outbox_relay.py",
    f"{PACKAGE}/outbox_worker.py",
    f"{PACKAGE}/request.py",
    f"{PACKAGE}/sending.py",
    f"{PACKAGE}/stopping.py",
    f"{PACKAGE}/task_metrics.py",
    f"{PACKAGE}/tasks/failures.py",
    f"{PACKAGE}/workflows.py",
]

# (option, values): paths that exist only for these answers. One that is listed twice needs both.
ONLY_IF = {
    ("broker", ("redis",)): [
        f"{PACKAGE}/redis_transport.py",
        "tests/test_redis_transport.py",
        "tests/test_autoscale.py",
        "tests/test_redis_broker.py",
        "tests/test_redis_chaos.py",
        "tests/test_results_beside_broker.py",
    ],
    ("broker", ("rabbitmq",)): [
        f"{PACKAGE}/rabbitmq.py",
        f"{PACKAGE}/rabbitmq_worker.py",
        "tests/test_rabbitmq_broker.py",
        "tests/test_rabbitmq_chaos.py",
    ],
    ("broker", ("sqs",)): [
        f"{PACKAGE}/sqs_transport.py",
        "tests/test_long_delays.py",
        "tests/test_sqs_broker.py",
        "compose.sqs.yaml",
    ],
    ("broker", ("rabbitmq", "sqs")): [
        f"{PACKAGE}/database_leases.py",
        "migrations/versions/0003_leases.py",
        "tests/test_database_leases.py",
    ],
    ("broker", ("redis", "rabbitmq", "none")): [f"{PACKAGE}/api/cancel.py"],
    ("broker", ("redis", "rabbitmq")): [
        "tests/test_api_cancel.py",
        "tests/test_large_chaos.py",
        "tests/test_one_process_poison.py",
        "tests/test_remote_control.py",
        "tests/test_signs_of_life.py",
        "tests/test_tls.py",
        "tests/test_gevent_control.py",
        "tests/test_prefork_control.py",
    ],
    ("result_backend", ("redis",)): [
        f"{PACKAGE}/redis_results.py",
        f"{PACKAGE}/api/redis_store.py",
        "tests/test_redis_results.py",
        "tests/test_results_beside_broker.py",
    ],
    ("result_backend", ("postgres",)): [
        f"{PACKAGE}/postgres_results.py",
        f"{PACKAGE}/api/database_store.py",
        "tests/test_postgres_results.py",
    ],
    ("result_backend", ("redis", "postgres")): [
        "tests/test_api_store.py",
        "tests/test_api_watching.py",
        "tests/test_api_cancel.py",
        "tests/memory_store.py",
        "tests/test_results_chaos.py",
        "tests/test_watching.py",
    ],
    ("result_backend", ("redis", "postgres", "file")): [
        "docs/page.png",
        f"{PACKAGE}/api/cancel.py",
        f"{PACKAGE}/api/events.py",
        f"{PACKAGE}/api/job.py",
        f"{PACKAGE}/api/jobs.py",
        f"{PACKAGE}/api/store.py",
        "tests/test_api_events.py",
        "tests/test_api_jobs.py",
        "tests/test_progress.py",
    ],
    ("result_backend", ("postgres", "none")): [
        f"{PACKAGE}/database_leases.py",
        "migrations/versions/0003_leases.py",
        "tests/test_database_leases.py",
    ],
    ("result_backend", ("none",)): ["tests/test_fire_and_forget.py"],
    ("worker_pool", ("prefork",)): [
        f"{PACKAGE}/prefork_pool.py",
        "tests/test_autoscale.py",
        "tests/test_prefork_chaos.py",
        "tests/test_prefork_poison.py",
        "tests/test_prefork_pool.py",
        "tests/test_prefork_control.py",
    ],
    ("worker_pool", ("threads", "gevent")): [
        "tests/test_one_process_poison.py",
        "tests/test_one_process_pool.py",
    ],
    ("worker_pool", ("prefork", "processes")): [f"{PACKAGE}/metric_files.py"],
    ("worker_pool", ("threads",)): [
        f"{PACKAGE}/log_writer.py",
        f"{PACKAGE}/thread_pool.py",
        "tests/test_log_writer.py",
    ],
    ("worker_pool", ("prefork", "gevent")): [f"{PACKAGE}/stopping.py"],
    ("worker_pool", ("gevent",)): [
        f"{PACKAGE}/gevent_pool.py",
        f"{PACKAGE}/gevent_request.py",
        "tests/test_gevent_control.py",
        "tests/test_gevent_pool.py",
    ],
    ("include_api", (True,)): [
        f"{PACKAGE}/api",
        "monitoring/alerts/api.yml",
        "monitoring/alerts/tests/api_test.yml",
        "monitoring/dashboards/api.json",
        "tests/api_service.py",
        "tests/live_api.py",
        "tests/memory_store.py",
        "tests/test_api.py",
        "tests/test_api_cancel.py",
        "tests/test_api_events.py",
        "tests/test_api_guard.py",
        "tests/test_api_jobs.py",
        "tests/test_api_live.py",
        "tests/test_api_server.py",
        "tests/test_api_store.py",
        "tests/test_api_watching.py",
        "docs/api.md",
        "docs/page.png",
    ],
    ("include_sqlalchemy", (True,)): [
        "alembic.ini",
        "migrations",
        f"{PACKAGE}/database.py",
        f"{PACKAGE}/database_leases.py",
        f"{PACKAGE}/models.py",
        f"{PACKAGE}/outbox.py",
        f"{PACKAGE}/outbox_cli.py",
        f"{PACKAGE}/outbox_relay.py",
        f"{PACKAGE}/outbox_worker.py",
        f"{PACKAGE}/jobs/orders.py",
        f"{PACKAGE}/tasks/orders.py",
        f"{PACKAGE}/jobs/order_import.py",
        f"{PACKAGE}/tasks/order_import.py",
        "tests/test_database.py",
        "tests/test_database_leases.py",
        "tests/test_postgres_database.py",
        "tests/test_order_import.py",
        "tests/test_outbox.py",
        "tests/test_outbox_losses.py",
        "docs/database.md",
        "docs/outbox.md",
    ],
    ("include_aiocache", (True,)): [
        f"{PACKAGE}/cache.py",
        f"{PACKAGE}/jobs/pages.py",
        f"{PACKAGE}/tasks/pages.py",
        "tests/test_cache.py",
        "docs/cache.md",
    ],
    ("include_flower", (True,)): ["docs/flower.png", "flowerconfig.py", "tests/test_flower.py"],
    ("include_metrics", (True,)): [
        f"{PACKAGE}/api/measured.py",
        f"{PACKAGE}/api/metrics_port.py",
        f"{PACKAGE}/counted_request.py",
        f"{PACKAGE}/dirty/measured_board.py",
        f"{PACKAGE}/metric_files.py",
        f"{PACKAGE}/metrics.py",
        f"{PACKAGE}/metrics_server.py",
        f"{PACKAGE}/task_metrics.py",
        "docs/prometheus.png",
        "monitoring",
        "tests/scraping.py",
        "tests/test_beat_metrics.py",
        "tests/test_metrics.py",
        "tests/test_monitoring.py",
    ],
    ("include_docker", (True,)): [
        "Dockerfile",
        "compose.yaml",
        "compose.sqs.yaml",
        ".dockerignore",
        "monitoring/compose.yaml",
        "monitoring/grafana",
        "docs/containers.md",
        "tests/containers.py",
        "tests/test_stack.py",
    ],
    ("include_examples", (True,)): [
        f"{PACKAGE}/storage.py",
        f"{PACKAGE}/workflows.py",
        f"{PACKAGE}/jobs/email.py",
        f"{PACKAGE}/jobs/etl.py",
        f"{PACKAGE}/jobs/images.py",
        f"{PACKAGE}/jobs/reports.py",
        f"{PACKAGE}/jobs/training.py",
        f"{PACKAGE}/jobs/order_import.py",
        f"{PACKAGE}/tasks/email.py",
        f"{PACKAGE}/tasks/etl.py",
        f"{PACKAGE}/tasks/failures.py",
        f"{PACKAGE}/tasks/images.py",
        f"{PACKAGE}/tasks/reports.py",
        f"{PACKAGE}/tasks/training.py",
        f"{PACKAGE}/tasks/order_import.py",
        "tests/test_email.py",
        "tests/test_etl.py",
        "tests/test_images.py",
        "tests/test_order_import.py",
        "tests/test_reports.py",
        "tests/test_training.py",
        "tests/test_workflows.py",
        "docs/examples.md",
    ],
}
# Pairs of an option and a value, one of which is enough: paths that exist only for these answers.
IF_ANY = {
    (("broker", "redis"), ("result_backend", "redis")): [f"{PACKAGE}/redis_leases.py"],
    (("broker", "redis"), ("result_backend", "redis"), ("include_sqlalchemy", True)): [
        f"{PACKAGE}/leases.py",
        f"{PACKAGE}/locks.py",
        f"{PACKAGE}/once_only.py",
        "tests/test_locks.py",
        "tests/test_once_only.py",
        "docs/once-only.md",
    ],
}


def effective(
    answers: Mapping[str, object], settled: Mapping[str, Mapping[str, object]]
) -> dict[str, object]:
    """The answers, with what the engine brings in the place of those that do not matter to it."""
    return {**answers, **settled[str(answers["task_engine"])]}


def put_in_place(engine: str, left_out: set[Path]) -> None:
    """Give the project the files of its engine that are wanted, and those of no other."""
    own = ENGINES / engine
    for path in [path for path in own.rglob("*") if path.is_file()]:
        target = path.relative_to(own)
        if not left_out & {target, *target.parents}:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(ENGINES)


def unwanted(answers: Mapping[str, object]) -> set[Path]:
    """The paths that these answers leave out."""
    found = [paths for (option, values), paths in ONLY_IF.items() if answers[option] not in values]
    found += [
        paths
        for choices, paths in IF_ANY.items()
        if not any(answers[option] == value for option, value in choices)
    ]
    return {Path(path) for paths in found for path in paths}


def is_kept(answers: Mapping[str, object], project: Path) -> bool:
    """Whether this is the user's project, and not what cruft compares it with.

    cruft renders again for each check, diff and update, into a temporary folder. What is random
    would be a difference there. Only cookiecutter's own command says what its output folder is.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    return "_output_dir" in answers or temporary not in project.resolve().parents


def write_secrets(file: Path, example: str) -> None:
    """Make up what containers do not start without, unless the user has done so."""
    if file.exists():
        return
    lines = ["# Secrets of this machine, which git ignores. All settings are in .env.example."]
    for name in re.findall(r"^#(\w+_PASSWORD)=$", example, re.MULTILINE):
        lines.append(f"{name}={secrets.token_hex(16)}")
    if "#API_KEY=" in example:
        lines.append(f"API_KEY={secrets.token_hex(16)}")
    if "#FLOWER_BASIC_AUTH=" in example:
        lines.append(f"FLOWER_BASIC_AUTH=admin:{secrets.token_hex(16)}")
    if Path("compose.sqs.yaml").exists():
        lines.append("COMPOSE_FILE=compose.yaml:compose.sqs.yaml")
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, ""]), "utf-8")


def main() -> None:
    answers = json.loads(r"""{{ cookiecutter | tojson }}""")
    left_out = unwanted(effective(answers, answers["_settled"]))
    others = set() if answers["task_engine"] == "celery" else set(map(Path, ONLY_CELERY))
    # What lies in a folder that is left out goes with it.
    for path in [path for path in left_out | others if not left_out & set(path.parents)]:
        if any((engine / path).exists() for engine in ENGINES.iterdir()) and not path.exists():
            continue
        # A row that names a path that is gone must fail the render, so nothing is forgiven here.
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    put_in_place(answers["task_engine"], left_out)

    if not is_kept(answers, Path.cwd()):
        return
    if answers["include_docker"]:
        write_secrets(Path(".env"), Path(".env.example").read_text("utf-8"))
    slug = answers["project_slug"]
    print(
        f"\n{slug} is ready. Next:\n\n"
        f"    cd {slug}\n"
        f"    uv run {slug} dev    # the whole service on this machine; Ctrl-C stops it\n"
        "    uv run pytest\n"
    )


if __name__ == "__main__":
    main()
