"""The measurements of benchmarks/api.py, made in a rendered project."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx2
import redis
from live_api import KEY, Api, running_api
from live_service import PROBE, Service, running_service, wait_until

SUBMISSIONS = 2_000
CALLERS = 10
STEPS = 100
STREAMS = 1_000
STAMPS = """

@shared_task(name="probe.stamp")
def stamp(total: str) -> None:
    def steps() -> Generator[Progress, None, None]:
        for done in range(1, int(total) + 1):
            time.sleep(0.2)
            yield Progress(done, int(total), str(time.time()))

    publish(steps())
"""


def rate(call: Callable[[], object]) -> float:
    """Calls per second, from several threads."""
    with ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(lambda _: call(), range(CALLERS)))
        started = time.perf_counter()
        list(threads.map(lambda _: call(), range(SUBMISSIONS)))
        return SUBMISSIONS / (time.perf_counter() - started)


def submissions(service: Service, api: Api) -> None:
    def post() -> None:
        answer = api.client.post("/api/hello/greet", json={"name": "Ada"})
        assert answer.status_code == 202, answer.text

    # In turns, so that what else the machine does falls on both.
    rates = [(rate(lambda: service.send("hello.greet", "Ada")), rate(post)) for _ in range(3)]
    sent, posted = (statistics.median(each) for each in zip(*rates, strict=True))
    print(f"submit: {posted:.0f}/s over HTTP, {sent:.0f}/s without: x {posted / sent:.2f}")


def latency(service: Service, api: Api) -> None:
    url = service.environment["CELERY_RESULT_BACKEND"]
    with service.worker(), redis.Redis.from_url(url) as bare:
        service.value(service.send("hello.greet", "Ada"))
        job = service.send("probe.stamp", str(STEPS))
        listener = bare.pubsub()
        listener.subscribe(f"celery-task-meta-{job.id}")
        path = f"/api/jobs/{job.id}"
        wait_until(lambda: api.client.get(path).status_code == 200, "the first step")
        with ThreadPoolExecutor(1) as thread:
            direct = thread.submit(lambda: list(bare_delays(listener)))
            told = list(event_delays(api, f"{path}/events"))
    found = statistics.median(told) * 1000, statistics.median(direct.result()) * 1000
    print(f"step to event: {found[0]:.1f} ms by the API, {found[1]:.1f} ms by bare Redis")


def bare_delays(listener: "redis.client.PubSub") -> Iterator[float]:
    for message in listener.listen():
        if message["type"] == "message":
            meta = json.loads(message["data"])
            if meta["status"] == "SUCCESS":
                return
            if meta["status"] == "PROGRESS":
                yield time.time() - float(meta["result"]["note"])


def event_delays(api: Api, path: str) -> Iterator[float]:
    with api.client.stream("GET", path) as answer:
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == "progress":
                yield time.time() - float(json.loads(line.removeprefix("data: "))["note"])


def memory(service: Service, api: Api) -> None:
    job = api.client.post("/api/hello/greet", json={"name": "Ada"}).json()
    path = job["links"]["events"]

    async def open_streams() -> int:
        limits = httpx2.Limits(max_connections=None)
        reading: list[AsyncIterator[str]] = []
        async with AsyncExitStack() as stack:
            client = httpx2.AsyncClient(
                base_url=api.client.base_url,
                headers={"X-API-Key": KEY},
                limits=limits,
                timeout=60,
                trust_env=False,
            )
            await stack.enter_async_context(client)

            async def watch() -> None:
                answer = await stack.enter_async_context(client.stream("GET", path))
                # The connection would be closed together with what reads from it.
                reading.append(lines := answer.aiter_lines())
                assert await anext(lines) == "event: snapshot", answer.status_code

            for _ in range(STREAMS // 50):
                await asyncio.gather(*(watch() for _ in range(50)))
            return resident(api)

    before = resident(api)
    first = asyncio.run(open_streams())
    second = asyncio.run(open_streams())
    print(
        f"memory: {(first - before) / STREAMS:.1f} kB for each of {STREAMS} open streams, "
        f"{(second - first) / STREAMS:.1f} kB more when they are opened again after closing"
    )


def resident(api: Api) -> int:
    """Memory of the process in kB."""
    status = Path(f"/proc/{api.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@contextmanager
def everything() -> Iterator[tuple[Service, Api]]:
    unlimited = {"API_RATE_LIMIT": "1000000000/second"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder)) as service,
        running_api(service, **unlimited) as api,
    ):
        (Path(folder) / "probe.py").write_text(PROBE + STAMPS)
        yield service, api


def main() -> None:
    for measure in (submissions, latency, memory):
        with everything() as (service, api):
            measure(service, api)


if __name__ == "__main__":
    main()
