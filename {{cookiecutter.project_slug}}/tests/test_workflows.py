"""Workflows: the parts get each other's results, and a failure is told in the log."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
#{% if cookiecutter.__result_backend != "none" %}
from celery.exceptions import ChordError
#{% endif %}
from PIL import Image

from {{ cookiecutter.__package_slug }} import workflows
from {{ cookiecutter.__package_slug }}.jobs import etl
from {{ cookiecutter.__package_slug }}.storage import path_of

pytestmark = pytest.mark.usefixtures("folder", "worker")


class Listener(logging.Handler):
    """Keeps what is logged, as structlog hands it over."""

    def __init__(self) -> None:
        super().__init__()
        self.events: SimpleQueue[Mapping[str, Any]] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):
            self.events.put(record.msg)


@pytest.fixture
def reported(worker: None) -> Iterator[SimpleQueue[Mapping[str, Any]]]:
    listener = Listener()
    logger = logging.getLogger("{{ cookiecutter.__package_slug }}.tasks.failures")
    logger.addHandler(listener)
    yield listener.events
    logger.removeHandler(listener)


@pytest.fixture
def pictures(folder: Path) -> list[str]:
    names = ["a.png", "b.png", "c.png"]
    for width, name in enumerate(names, start=1):
        Image.new("L", (width, 1)).save(folder / name)
    return names


def value_of(result: Any) -> Any:
    return result.get(timeout=10, interval=0.01)


def test_a_chain_loads_orders_step_by_step(folder: Path) -> None:
    (folder / "orders.csv").write_text("reference,customer,day,cents\n1,ada,2026-11-20,5\n")

    assert value_of(workflows.load_orders("orders.csv")) == {"table": etl.TABLE, "rows": 1}
    assert path_of(etl.TABLE).exists()


def test_a_step_that_fails_ends_its_chain_and_is_reported(
    reported: SimpleQueue[Mapping[str, Any]],
) -> None:
    result: Any = workflows.load_orders("missing.csv")

    with pytest.raises(FileNotFoundError):
        value_of(result)
    event = reported.get(timeout=10)
    assert (event["event"], event["level"]) == ("workflow failed", "error")
    assert event["failed_task"] == "etl.extract"
    assert event["failed_id"] == result.parent.parent.id
    assert "missing.csv" in event["error"]
    assert not path_of(etl.TABLE).exists()


def test_a_group_makes_each_thumbnail(pictures: list[str]) -> None:
    made = value_of(workflows.make_thumbnails(pictures))

    assert [picture["width"] for picture in made] == [1, 2, 3]


def test_a_member_that_fails_does_not_stop_its_group(pictures: list[str]) -> None:
    group = workflows.make_thumbnails([*pictures, "missing.png"])
    made = group.get(timeout=10, interval=0.01, propagate=False)

    assert [picture["width"] for picture in made[:3]] == [1, 2, 3]
    assert isinstance(made[3], FileNotFoundError)


#{% if cookiecutter.__result_backend != "none" %}
def test_a_chord_adds_up_what_its_tasks_found() -> None:
    total = value_of(workflows.report_on_days(["2026-11-20", "2026-11-21"]))

    assert total == {"day": "2026-11-20 to 2026-11-21", "orders": 0, "cents": 0}
    assert path_of("reports/2026-11-21.json").exists()


def test_a_chord_that_fails_has_no_result_and_is_reported(
    reported: SimpleQueue[Mapping[str, Any]],
) -> None:
    result = workflows.report_on_days(["2026-11-20", "yesterday"])

    # Raising it would raise what its first part met instead, when that is known sooner.
    error = result.get(timeout=10, interval=0.01, propagate=False)
    assert isinstance(error, ChordError)
    event = reported.get(timeout=10)
    assert (event["event"], event["failed_id"]) == ("workflow failed", result.id)
    assert "yesterday" in event["error"]


#{% endif %}
def test_a_map_makes_all_thumbnails_in_one_task(pictures: list[str]) -> None:
    made = value_of(workflows.make_thumbnails_in_one_task(pictures))

    assert [picture["width"] for picture in made] == [1, 2, 3]


def test_a_starmap_gives_each_call_its_arguments(pictures: list[str]) -> None:
    sizes = [(name, number, 5) for number, name in enumerate(pictures, start=7)]
    made = value_of(workflows.resize_in_one_task(sizes))

    assert [(picture["width"], picture["height"]) for picture in made] == [(7, 5), (8, 5), (9, 5)]


def test_chunks_make_so_many_thumbnails_in_each_task(pictures: list[str]) -> None:
    made = value_of(workflows.make_thumbnails_in_chunks(pictures, size=2))

    assert [[picture["width"] for picture in chunk] for chunk in made] == [[1, 2], [3]]
