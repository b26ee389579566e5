"""What failed for good is kept with its reason, and runs again when somebody says so."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from live_service import PACKAGE, Service, wait_until

from {{ cookiecutter.__package_slug }}.queues import DEAD_LETTERS, Queue

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def listed(service: Service) -> list[dict[str, Any]]:
    """What the project's own command prints."""
    found: list[dict[str, Any]] = json.loads(command(service, "list", "--json"))
    return found


def command(service: Service, *arguments: str) -> str:
    return service.run(sys.executable, "-m", PACKAGE, "dead-letters", *arguments)


def test_a_task_that_failed_for_good_is_kept_with_its_reason(
    service: Service, tmp_path: Path
) -> None:
    failed = service.send("probe.need", str(tmp_path / "absent"), queue=Queue.IO)
    letter = service.dead_letter()

    assert (letter["id"], letter["task"], letter["queue"]) == (failed.id, "probe.need", Queue.IO)
    assert (letter["reason"], letter["deliveries"], letter["requeued"]) == ("failed", 1, 0)
    assert "FileNotFoundError" in letter["error"]
    assert "in need" in letter["traceback"]


def test_a_task_that_succeeds_in_the_end_is_not_kept(service: Service, tmp_path: Path) -> None:
    assert service.value(service.send("probe.fail_once", str(tmp_path / "mark"))) == "done"
    assert service.waiting(DEAD_LETTERS) == 0


def test_a_task_that_is_put_back_runs_with_its_id_and_what_comes_after_it(
    service: Service, tmp_path: Path
) -> None:
    file, needed = tmp_path / "lines", tmp_path / "needed"
    after = service.sender.signature("probe.write", (str(file), "after"), immutable=True)
    failed = service.send("probe.need", str(needed), chain=[after], expires=3600)
    wait_until(lambda: service.waiting(DEAD_LETTERS), "the dead letter")
    assert json.loads(command(service, "show", failed.id))["content"][0] == [str(needed)]

    command(service, "requeue", failed.id)
    wait_until(lambda: service.waiting(DEAD_LETTERS), "the dead letter, which nobody has mended")
    (letter,) = listed(service)
    assert (letter["id"], letter["requeued"]) == (failed.id, 1)

    needed.write_text("is there now")
    command(service, "requeue", "--task", "probe.need")
    wait_until(file.exists, "the next task of the chain")
    assert service.value(failed) == "is there now"
    assert listed(service) == []


def test_to_look_at_them_changes_nothing(service: Service, tmp_path: Path) -> None:
    missing = [service.send("probe.need", str(tmp_path / str(number))) for number in range(3)]
    wait_until(lambda: service.waiting(DEAD_LETTERS) == 3, "the dead letters")
    looks = [listed(service) for _ in range(3)]

    assert {letter["id"] for letter in looks[0]} == {task.id for task in missing}
    assert looks[0] == looks[1] == looks[2]
    assert command(service, "purge", "--yes") == "forgot 3\n"
    assert command(service, "list") == "There are none.\n"
