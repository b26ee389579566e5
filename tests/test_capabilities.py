"""What a rendered project's documents say that its broker and pool can do, a live test holds."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from combinations import OPTIONS, Render, covering
from live_rows import LIVE

DOCUMENT = "docs/celery.md"
COLUMNS = {"Redis": "redis", "RabbitMQ": "rabbitmq", "Amazon SQS": "sqs"}
# First cell of a row -> the tests that hold its cells that say yes.
TESTS = {
    "Retries with backoff": ["test_a_task_that_fails_is_tried_again"],
    "Countdown and ETA": ["test_a_countdown_delays_a_task"],
    "Expiry of a waiting task": ["test_a_task_that_waited_too_long_does_not_run"],
    "Priorities": ["test_the_lowest_priority_number_runs_first"],
    "A queue that is not listed is refused": [
        "test_a_task_for_a_queue_that_nobody_serves_is_not_accepted"
    ],
    "Chains and groups": [
        "test_a_chain_hands_each_result_to_the_next_task",
        "test_a_group_runs_each_of_its_tasks",
    ],
    "A killed worker's task runs again": ["test_a_task_whose_worker_is_killed_runs_again"],
    "Revoking a waiting task": ["test_a_waiting_task_that_is_revoked_does_not_run"],
    "`inspect`, `status`": [
        "test_status_names_the_workers",
        "test_inspect_shows_what_the_worker_knows_and_does",
        "test_inspect_answers_every_other_question",
    ],
    "`control rate_limit`, `add_consumer`, `cancel_consumer`": [
        "test_a_rate_limit_holds_a_task_back",
        "test_a_worker_leaves_a_queue_and_comes_back_to_it",
    ],
    "`inspect scheduled` shows what is not due yet": [
        "test_inspect_shows_a_task_that_is_not_due_yet"
    ],
    "`worker --autoscale`": ["test_a_worker_with_autoscale_grows_with_its_work"],
    "Events, and so Flower": ["test_events_are_told_to_whoever_listens"],
    "Many tasks in one process": [
        "test_as_many_tasks_run_at_once_as_the_pool_holds_and_all_finish_when_it_stops"
    ],
    "Soft time limit": ["test_a_task_is_interrupted_at_its_soft_time_limit"],
    "Hard time limit": ["test_a_task_is_ended_at_its_time_limit"],
    "`max_tasks_per_child`, `max_memory_per_child`": [
        "test_a_process_is_replaced_after_as_many_tasks_as_it_may_run"
    ],
    "`control terminate` of a running task": ["test_a_running_task_can_be_terminated"],
    "`control pool_grow`, `pool_shrink` and `pool_restart`": [
        "test_the_pool_grows_and_shrinks_when_it_is_told_to",
        "test_the_pool_is_restarted_when_it_is_told_to",
    ],
    "SIGTERM: what runs finishes": ["test_a_worker_that_is_stopped_finishes_what_it_runs"],
    "SIGTERM: what takes longer than `SHUTDOWN_TIMEOUT` goes back to the broker": [
        "test_what_takes_too_long_goes_back_to_the_broker"
    ],
}


def claims(document: Path) -> Iterator[tuple[str, str, str]]:
    """Row, column and cell of the tables of yes and no."""
    for table in re.findall(r"(?:^\|.*\|\n)+", document.read_text("utf-8"), re.MULTILINE):
        lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
        header, _, *rows = lines
        if all(cell.startswith(("yes", "no")) for row in rows for cell in row[1:]):
            for row in rows:
                for column, cell in zip(header, row[1:], strict=True):
                    yield row[0], column, cell


def is_promised(row: str, cell: str, broker: str, worker_pool: str) -> bool:
    if "with prefork" in cell:
        return worker_pool == "prefork"
    # SQS carries no remote control, whatever the pool could do.
    if row.startswith("`control") and broker == "sqs":
        return False
    return cell.startswith("yes")


def live_tests(project: Path) -> set[str]:
    return {
        name
        for path in (project / "tests").glob("test_*.py")
        if "pytest.mark.live" in path.read_text("utf-8")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }


def test_every_row_has_its_tests(render: Render) -> None:
    assert {row for row, _, _ in claims(render(covering()[0]) / DOCUMENT)} == TESTS.keys()


@pytest.mark.parametrize("broker", COLUMNS.values())
@pytest.mark.parametrize("worker_pool", OPTIONS["worker_pool"])
def test_what_is_promised_is_tested_where_it_is_promised(
    render: Render, broker: str, worker_pool: str
) -> None:
    chosen = {"task_engine": "celery", "broker": broker, "worker_pool": worker_pool}
    projects = [render(answers) for answers in LIVE if chosen.items() <= answers.items()]
    assert projects, "no live suite has this pair"
    for project in projects:
        untested = {
            (row, test)
            for row, column, cell in claims(project / DOCUMENT)
            if COLUMNS.get(column, column) in chosen.values()
            and is_promised(row, cell, broker, worker_pool)
            for test in TESTS[row]
            if test not in live_tests(project)
        }
        assert untested == set()
