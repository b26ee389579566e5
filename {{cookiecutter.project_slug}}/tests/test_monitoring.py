"""Whoever is woken by an alert finds what to do."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ALERT = re.compile(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", re.DOTALL)
ALERTS = {
    name: text
    for file in sorted((PROJECT / "monitoring/alerts").glob("*.yml"))
    for name, text in ALERT.findall(file.read_text())
}

DOCUMENT = (PROJECT / "docs/operations.md").read_text()
HEADINGS = set(re.findall(r"^### (\w+)$", DOCUMENT, re.MULTILINE))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_what_to_do(name: str) -> None:
    assert f"runbook: docs/operations.md#{name.lower()}" in ALERTS[name]
    assert name in HEADINGS
    assert re.search("severity: (critical|warning)", ALERTS[name])


def test_no_words_are_left_of_an_alert_that_is_gone() -> None:
    assert set(ALERTS) == HEADINGS
