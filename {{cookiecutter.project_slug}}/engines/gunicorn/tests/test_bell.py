"""Processes wake each other, wherever the folder is, and whoever was killed."""

import os
import time
from pathlib import Path

import pytest

from {{ cookiecutter.__package_slug }}.dirty.bell import Bell, listening, ring

# Seconds for what takes no time.
TIMEOUT = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Longer than a socket's path may be.
    return tmp_path / ("long" * 30) / "bells"


def waited(bell: Bell, timeout: float) -> float:
    began = time.monotonic()
    bell.wait(timeout)
    return time.monotonic() - began


def test_who_listens_under_the_name_is_woken(folder: Path) -> None:
    one, other = Bell(folder, "email"), Bell(folder, "images")
    ring(folder, "email")

    assert waited(one, TIMEOUT) < TIMEOUT
    assert waited(other, 0.05) >= 0.05
    one.close()
    other.close()


def test_rings_that_nobody_heard_yet_are_heard_once(folder: Path) -> None:
    bell = Bell(folder, "email")
    for _ in range(100_000):
        ring(folder, "email")

    assert waited(bell, TIMEOUT) < TIMEOUT
    assert waited(bell, 0.05) >= 0.05
    bell.close()


def test_who_was_killed_is_forgotten(folder: Path) -> None:
    here = Bell(folder, "email")
    child = os.fork()
    if child == 0:
        Bell(folder, "email")
        os._exit(0)
    os.waitpid(child, 0)

    assert len(list(folder.iterdir())) == 2
    assert listening(folder, "email") == [os.getpid()]
    assert len(list(folder.iterdir())) == 1
    here.close()
    assert list(folder.iterdir()) == []
