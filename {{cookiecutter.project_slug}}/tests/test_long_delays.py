"""A task that is due later than the broker can keep it is refused: it would run several times."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.signals import before_task_publish
from kombu.exceptions import OperationalError
from live_service import leading_to, sending_to

from {{ cookiecutter.__package_slug }}.broker import LONGEST_DELAY
from {{ cookiecutter.__package_slug }}.settings import settings
from {{ cookiecutter.__package_slug }}.tasks.hello import greet

LATER = timedelta(seconds=LONGEST_DELAY)
MOMENT = timedelta(seconds=30)


@pytest.fixture
def due() -> Iterator[Callable[..., datetime]]:
    """When a task that is sent like this would run. It goes to nobody."""
    with sending_to(leading_to(1)) as sender:

        def send(**options: Any) -> datetime:
            sent: list[str] = []

            def note(headers: dict[str, str], **_: Any) -> None:
                sent.append(headers["eta"])

            before_task_publish.connect(note)
            with suppress(OperationalError):
                sender.send_task("hello.greet", ("Ada",), retry=False, **options)
            before_task_publish.disconnect(note)
            return datetime.fromisoformat(sent[0])

        yield send


def test_a_task_ends_before_the_broker_hands_it_out_again() -> None:
    assert LONGEST_DELAY + settings.task_time_limit < settings.visibility_timeout


def test_a_countdown_that_is_too_long_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"countdown=86400 .* set a longer VISIBILITY_TIMEOUT"):
        greet.apply_async(("Ada",), countdown=86400)


@pytest.mark.parametrize("zone", [UTC, None])
def test_an_eta_that_is_too_far_away_is_refused(zone: Any) -> None:
    eta = (datetime.now(UTC) + LATER + MOMENT).replace(tzinfo=zone)

    with pytest.raises(ValueError, match=f"eta={eta.year}"):
        greet.apply_async(("Ada",), eta=eta)


def test_an_eta_as_text_is_refused_alike() -> None:
    eta: Any = (datetime.now(UTC) + LATER + MOMENT).isoformat()

    with pytest.raises(ValueError, match=f"eta={eta[:10]}"):
        greet.apply_async(("Ada",), eta=eta)


def test_the_longest_delay_is_accepted(due: Callable[..., datetime]) -> None:
    soonest = datetime.now(UTC) + LATER

    assert soonest <= due(countdown=LONGEST_DELAY) < soonest + MOMENT


def test_a_retry_comes_early_instead_of_being_refused(due: Callable[..., datetime]) -> None:
    soonest = datetime.now(UTC) + LATER

    assert soonest <= due(countdown=86400, retries=1) < soonest + MOMENT
