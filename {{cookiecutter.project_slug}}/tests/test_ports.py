"""A port that is found free stays so for whom it was found."""

import sys

import pytest

from {{ cookiecutter.__package_slug }}.ports import free_port


@pytest.mark.live
@pytest.mark.skipif(sys.platform != "linux", reason="other systems choose ports otherwise")
def test_a_free_port_is_found_for_one_only() -> None:
    found = [free_port() for _ in range(500)]

    assert len(set(found)) == len(found)
    assert free_port(found[0]) == found[0]
