"""Counts what a test run did with each combination, so that none is left out unnoticed."""

from typing import Any

import pytest
from combinations import combined, every, is_possible, is_repeated, label

SUITE_TEST = "test_its_own_tests_pass"


class Tally:
    """A pytest plugin that ends the run with one line on all combinations."""

    def __init__(self) -> None:
        self.rendered: set[str] = set()
        self.run: set[str] = set()
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: Any) -> Any:
        report = yield
        parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        if "answers" in parameters:
            combination = label(parameters["answers"])
            if report.when == "call":
                self.rendered.add(combination)
                if item.originalname == SUITE_TEST and not report.skipped:
                    self.run.add(combination)
            if report.failed:
                self.failed.add(combination)
        return report

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        possible, refused = len(every()), sum(not is_possible(row) for row in combined())
        repeated = sum(is_possible(row) and is_repeated(row) for row in combined())
        terminalreporter.write_line(
            f"combinations: {possible} possible, {refused} refused, {repeated} like another, "
            f"{len(self.rendered)} rendered, {len(self.run)} run, {len(self.failed)} failed"
        )
