"""Which combinations are tested with real processes, and what each of them leaves to others."""

from collections import defaultdict

from combinations import Answers, Render, covering, label

CARRIERS = ("broker", "result_backend", "worker_pool")
# Real processes take long: every choice once, each pair of those that carry the tasks, and each of
# them with and without what hangs on it.
LIVE = covering(
    1,
    [
        CARRIERS,
        *(("include_api", name) for name in CARRIERS),
        ("include_sqlalchemy", "broker"),
        *(("include_metrics", name) for name in ("broker", "worker_pool", "task_engine")),
    ],
    is_lean=True,
)
# Live tests on which few choices have a bearing: they run once for each engine, and for each value
# of each of these, unless `--every` is asked for.
HANGS_ON = {
    "test_api_cancel.py": ("broker", "worker_pool"),
    "test_api_live.py": ("broker",),
    "test_api_watching.py": ("broker", "result_backend"),
    "test_autoscale.py": ("broker", "worker_pool"),
    "test_dead_letters.py": ("broker",),
    "test_dev.py": ("worker_pool",),
    "test_locks.py": ("broker",),
    "test_once_only.py": ("broker", "result_backend"),
    "test_outbox_losses.py": ("broker",),
    "test_prefork_control.py": ("broker",),
    "test_prefork_poison.py": ("broker",),
    "test_redis_results.py": ("broker", "worker_pool"),
    "test_redis_transport.py": ("worker_pool",),
    "test_remote_control.py": ("broker", "worker_pool"),
    "test_signs_of_life.py": ("broker",),
    "test_sqs_broker.py": ("worker_pool",),
    "test_telemetry.py": ("broker", "worker_pool", "include_api"),
    "test_tls.py": ("broker", "result_backend"),
}


def having(rows: list[Answers], render: Render, file: str) -> list[Answers]:
    return [row for row in rows if (render(row) / "tests" / file).exists()]


def left_out(rows: list[Answers], render: Render) -> dict[str, list[str]]:
    """Arguments for the suites that leave to others what hangs on few choices only."""
    ignored: dict[str, list[str]] = defaultdict(list)
    for file, options in HANGS_ON.items():
        there = having(rows, render, file)
        wanted = {choice for row in there for choice in choices(row, options)}
        while wanted:
            # Of equals the one that leaves out most so far.
            row = max(
                there,
                key=lambda row: (
                    len(wanted & choices(row, options)),
                    len(ignored[label(row)]),
                ),
            )
            wanted -= choices(row, options)
            there.remove(row)
        for row in there:
            ignored[label(row)].append(f"--ignore=tests/{file}")
    return ignored


def choices(row: Answers, options: tuple[str, ...]) -> set[tuple[str, str | bool]]:
    # Engines have files of their own by the same names.
    return {(option, row[option]) for option in (*options, "task_engine")}
