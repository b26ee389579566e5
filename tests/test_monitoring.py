"""What a service tells Prometheus is what its dashboards and alerts ask for."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from combinations import OPTIONS, Render
from dev_service import DEFAULTS, PICTURES, TIMEOUT, DevService, chromium, started
from environments import Superset
from servers import free_port

# What a healthy service has none of.
ONLY_IN_TROUBLE = re.compile("celery_task_rejected_total")
METRIC = re.compile(r"\b(?:celery|http)_\w+|\bup\b")


@dataclass(frozen=True)
class Prometheus:
    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Its answer. Raises AssertionError with what it has against the question."""
        address = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT / 1000) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"{parameters}: {refusal.read().decode()}") from None

    def value(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.address}/-/ready", timeout=1):
            return True
        return False


def wait_until(condition: Callable[[], object], what: str | Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT / 1000
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT / 1000} s for {what() if callable(what) else what}")
        time.sleep(0.1)


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        reason = f"{name} must be installed for this: Debian's package is prometheus"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    assert found
    return found


@contextmanager
def reading(service: DevService, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with the project's own settings, but for where and how often it asks."""
    settings = yaml.safe_load((service.project / "monitoring/prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(service.project / "monitoring/alerts/*.yml")]
    (job,) = settings["scrape_configs"]
    del job["dns_sd_configs"], job["relabel_configs"]
    job["static_configs"] = [
        {"targets": [target], "labels": {"service": name or "service"}}
        for name, target in service.told(r"metrics(?: of (\w+))?: http://(\S+)/metrics")
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
    )
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        wait_until(prometheus.is_ready, "Prometheus")
        yield prometheus
    finally:
        process.terminate()
        process.wait(TIMEOUT / 1000)


@pytest.fixture(scope="module", params=OPTIONS["task_engine"])
def service(
    request: pytest.FixtureRequest,
    render: Render,
    superset: Superset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevService]:
    answers = DEFAULTS | {"task_engine": request.param, "include_metrics": True}
    with started(answers, render, superset, tmp_path_factory.mktemp("monitoring")) as service:
        yield service


@pytest.fixture(scope="module")
def prometheus(
    service: DevService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    with reading(service, tmp_path_factory.mktemp("prometheus")) as prometheus:
        # Increases are seen between two looks.
        wait_until(lambda: prometheus.value("celery_task_received_total"), "the first look")
        submit(service, "hello/greet", name="Ada")
        message = {"subject": "Hello", "body": "Hello!"}
        submit(service, "email/send-bulk", recipients=["ada@example.com"] * 20, **message)
        # Nobody answers there, so it is tried again and again.
        submit(service, "scheduled/sync", url="http://127.0.0.1:1/")
        submit(service, "image/resize", source="no-such-picture.jpg", width=10, height=10)
        failures = 'celery_task_failed_total{exception="FileNotFoundError"}'
        wait_until(lambda: prometheus.value(failures), "the failure")
        yield prometheus


def submit(service: DevService, path: str, **arguments: object) -> None:
    request = urllib.request.Request(
        f"{service.address}/api/{path}",
        json.dumps(arguments).encode(),
        {"X-API-Key": service.key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT / 1000) as answer:
        assert answer.status == 202


def expressions(service: DevService) -> dict[str, str]:
    """Title of a panel -> what it asks for, with the variables as Grafana fills them in."""
    found = {}
    for file in sorted((service.project / "monitoring/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"].replace("$__rate_interval", "30s")
                name = f"{file.name}: {panel['title']} {target['refId']}"
                found[name] = re.sub(r"\$\w+", ".*", text)
    return found


def test_every_panel_of_the_dashboards_shows_something(
    service: DevService, prometheus: Prometheus, pytestconfig: pytest.Config
) -> None:
    asked = expressions(service)
    assert len(asked) > 20
    expected = {name: text for name, text in asked.items() if not ONLY_IN_TROUBLE.search(text)}

    def empty() -> set[str]:
        return {name for name, text in expected.items() if not prometheus.value(text)}

    wait_until(lambda: not empty(), lambda: f"data in {empty()}")
    if pytestconfig.getoption("--screenshot") and service.engine == "celery":
        take_pictures(service, prometheus)


def test_every_alert_asks_for_what_is_there(prometheus: Prometheus) -> None:
    def looked_up() -> list[Any]:
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]

    # One that was not evaluated yet is neither well nor ill.
    def unwell() -> list[str]:
        return [rule["name"] for rule in looked_up() if rule["health"] != "ok"]

    def missing() -> set[str]:
        return {name for name in asked if not prometheus.value(name)}

    rules = looked_up()
    asked = {name for rule in rules for name in METRIC.findall(rule["query"])}

    assert len(rules) > 10
    wait_until(lambda: not unwell(), lambda: f"the evaluation of {unwell()}")
    wait_until(lambda: not missing(), lambda: f"{missing()}")


def test_a_task_that_fails_for_good_raises_an_alert_and_nothing_else_does(
    prometheus: Prometheus,
) -> None:
    def raised() -> set[str]:
        return {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}

    wait_until(lambda: raised() == {"TasksBuried"}, lambda: f"that alert alone, not {raised()}")


def test_the_alerts_own_tests_pass(service: DevService) -> None:
    folder = service.project / "monitoring"
    promtool = program("promtool")
    tests = sorted(map(str, (folder / "alerts/tests").glob("*.yml")))

    subprocess.run([promtool, "check", "config", "prometheus.yml"], cwd=folder, check=True)
    subprocess.run([promtool, "test", "rules", *tests], cwd=folder, check=True)


def take_pictures(service: DevService, prometheus: Prometheus) -> None:
    (flower,) = service.told(r"Flower: (http://\S+)")
    secrets = (service.project / ".env").read_text()
    login = re.search(r"^FLOWER_BASIC_AUTH=(\w+):(\w+)$", secrets, re.MULTILINE)
    assert login
    # So that there is something to see.
    for number in range(60):
        for _ in range(number % 20):
            submit(service, "hello/greet", name="Ada")
        submit(service, "scheduled/cleanup", folder="thumbnails", max_age_days=30)
        time.sleep(1)
    graph = {
        "g0.expr": "sum by (name) (rate(celery_task_succeeded_total[10s])) > 0",
        "g0.range_input": "1m",
        "g0.tab": "0",
    }
    with chromium() as browser:
        context = browser.new_context(
            http_credentials={"username": login[1], "password": login[2]},
            viewport={"width": 1100, "height": 900},
        )
        page = context.new_page()
        for name, address in {
            "flower": f"{flower}/workers",
            "prometheus": f"{prometheus.address}/graph?{urllib.parse.urlencode(graph)}",
        }.items():
            page.goto(address)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=PICTURES / f"{name}.png")
