"""The table of leases does not grow for ever."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from {{ cookiecutter.__package_slug }}.database import session
from {{ cookiecutter.__package_slug }}.leases import keep
from {{ cookiecutter.__package_slug }}.models import Lease
from {{ cookiecutter.__package_slug }}.run_async import run_async


async def names() -> list[str]:
    async with session() as unit_of_work:
        return list(await unit_of_work.scalars(select(Lease.name)))


@pytest.mark.usefixtures("shared")
def test_what_is_over_is_deleted_when_something_is_kept() -> None:
    keep("over", "1", timedelta(seconds=-1))
    keep("valid", "1", timedelta(days=1))

    assert run_async(names()) == ["valid"]
