"""The API of a rendered project, as its callers use it: in a browser, and by its description."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from combinations import OPTIONS, Render
from dev_service import DEFAULTS, PICTURES, TIMEOUT, DevService, chromium, started
from environments import Superset
from playwright.sync_api import Browser, Page, expect

expect.set_options(timeout=TIMEOUT)


@pytest.fixture(scope="module", params=OPTIONS["task_engine"])
def api(
    request: pytest.FixtureRequest,
    render: Render,
    superset: Superset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevService]:
    answers = DEFAULTS | {"task_engine": request.param}
    with started(answers, render, superset, tmp_path_factory.mktemp("api")) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, api: DevService, problems: list[str]) -> Iterator[Page]:
    """The page, entered with the address that `dev` prints."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: problems.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(api.page)
        # Shown last. A list that was asked for before a job was started would come without it.
        page.locator("#figures dd").first.wait_for(timeout=TIMEOUT)
        yield page
    assert problems + [url for url in asked if not url.startswith(api.address)] == []


def submit(page: Page, task: str, **values: str) -> None:
    page.get_by_label("Job", exact=True).select_option(task)
    for name, value in values.items():
        page.locator(f"#field-{name}").fill(value)
    page.get_by_role("button", name="Start").click()


def test_a_job_is_started_and_its_result_read(page: Page) -> None:
    submit(page, "hello.greet", name="Grace")

    expect(page.locator("#list li").first).to_contain_text("Hello, Grace!")


def test_the_examples_fill_the_form(page: Page) -> None:
    page.get_by_label("Job", exact=True).select_option("email.send_bulk")

    expect(page.locator("#field-recipients")).to_have_value("ada@example.com\ngrace@example.com")


def test_progress_moves_until_the_result_is_there(page: Page) -> None:
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => {
            for (const bar of document.querySelectorAll("progress")) window.seen.push(bar.value);
        }).observe(document.getElementById("list"), { childList: true, subtree: true });
    }""")
    submit(page, "email.send_bulk", recipients="\n".join(f"{n}@example.com" for n in range(100)))

    expect(page.locator("#list li").first).to_contain_text("99@example.com")
    expect(page.locator("#list li").first).to_contain_text("succeeded")
    assert len(set(page.evaluate("window.seen"))) > 1


def test_a_failure_shows_its_reason(page: Page) -> None:
    submit(page, "images.resize", source="no-such-picture.jpg")

    expect(page.locator("#list li").first).to_contain_text("FileNotFoundError")
    expect(page.locator("#figures")).to_contain_text("dead letters")


def test_an_optional_field_that_is_empty_has_its_default(page: Page) -> None:
    submit(page, "etl.run", source="../../etc/passwd", table="")

    expect(page.locator("#outcome")).to_contain_text("Submitted")
    expect(page.locator("#list li").first).to_contain_text("'../../etc/passwd' leads out")


def test_a_mistake_in_the_form_is_marked(page: Page) -> None:
    submit(page, "images.resize", width="1.5")

    expect(page.locator("#field-width:invalid")).to_have_count(1)


def test_a_job_that_waits_to_be_tried_again_is_cancelled(page: Page) -> None:
    submit(page, "reports.sync", url="http://127.0.0.1:1/")
    job = page.locator("#list li").first
    expect(job).to_contain_text("retrying")
    with page.expect_response(re.compile("/cancel$")) as answer:
        job.get_by_role("button").click()

    assert answer.value.status == 202


def test_many_jobs_that_go_on_leave_the_page_free(page: Page) -> None:
    for _ in range(10):
        submit(page, "reports.sync", url="http://127.0.0.1:1/")
        expect(page.locator("#outcome")).to_contain_text("Submitted")
        page.locator("#outcome").evaluate("element => { element.textContent = ''; }")
    submit(page, "hello.greet", name="Edith")

    expect(page.locator("#list li").first).to_contain_text("Hello, Edith!")


def test_the_service_is_seen(page: Page, api: DevService) -> None:
    workers = {"celery": "1", "gunicorn": "10"}[api.engine]
    expect(page.locator("#figures div", has_text="workers").locator("dd")).to_have_text(workers)
    expect(page.locator("#figures")).to_contain_text("waiting in default")


def test_jobs_outlast_a_reload_and_can_be_narrowed(page: Page) -> None:
    submit(page, "hello.greet", name="Barbara")
    expect(page.locator("#list li").first).to_contain_text("Hello, Barbara!")
    page.reload()
    # The schedule may have had somebody greeted since.
    expect(page.locator("#list li", has_text="Hello, Barbara!")).to_have_count(1)
    page.get_by_label("Show").select_option("cancelled")

    expect(page.locator("#list")).not_to_contain_text("Barbara")


def test_who_has_no_key_is_asked_for_it(browser: Browser, api: DevService) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(api.address)
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("status").first).to_contain_text("X-API-Key is wrong")
        page.get_by_label("API key").fill(api.key)
        page.keyboard.press("Enter")

        expect(page.get_by_role("heading", name="Start a job")).to_be_visible()


def test_the_key_does_not_stay_in_the_address(page: Page, api: DevService) -> None:
    assert page.url == f"{api.address}/"


def test_it_can_be_used_without_a_mouse(page: Page) -> None:
    page.get_by_label("Job", exact=True).focus()
    page.keyboard.type("hello.greet")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Edsger")
    page.keyboard.press("Enter")

    expect(page.locator("#list li").first).to_contain_text("Hello, Edsger!")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(
    page: Page, api: DevService, scheme: str, pytestconfig: pytest.Config
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 800})
    submit(page, "email.send_bulk", recipients="\n".join(["a-long-name@example.com"] * 30))
    expect(page.locator("#list li").first).to_contain_text(re.compile("email.send_bulk.*succeeded"))

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    brightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (brightness < 128) is (scheme == "dark")
    if pytestconfig.getoption("--screenshot") and (scheme, api.engine) == ("light", "celery"):
        page.set_viewport_size({"width": 900, "height": 1100})
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=PICTURES / "page.png")


def test_no_request_that_its_description_allows_is_an_error_of_the_service(
    api: DevService, tmp_path: Path
) -> None:
    # Not every request should wait for its job, some of which are tried again for minutes.
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text('[parameters]\n"query.wait" = 0.1\n')
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    done = subprocess.run(
        [
            "schemathesis",
            f"--config-file={configuration}",
            "run",
            f"{api.address}/openapi.json",
            f"--header=X-API-Key: {api.key}",
            f"--checks={checks},response_schema_conformance,ignored_auth",
            "--max-examples=10",
            "--generation-database=none",
        ],
        capture_output=True,
        text=True,
        timeout=540,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-5000:]
