"""The service's own Redis transport: no task is lost with its worker, and none runs twice."""

import json
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from kombu import Connection, Exchange, Queue
from kombu.asynchronous import Hub
from kombu.transport import redis as plain_transport
from live_service import TIMEOUT, Service, kill, running_service, wait_until

from {{ cookiecutter.__package_slug }} import redis_transport
from {{ cookiecutter.__package_slug }}.dead_letters import buried
from {{ cookiecutter.__package_slug }}.embedded_broker import running
from {{ cookiecutter.__package_slug }}.queues import DEAD_LETTERS

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
PACKAGE = "{{ cookiecutter.__package_slug }}"
QUEUE = Queue("parcels", Exchange("parcels"), routing_key="parcels")
# What a client sends; the rest is part of a script.
ASKING = ("evalsha", "bzpopmin", "multi")
# Seconds.
LEASE = 3.0
# What a worker imports that counts as fast, however slow this machine is.
FAST = f"""
from {PACKAGE} import redis_transport

redis_transport.Poller.pace = lambda self: 1_000_000
redis_transport.Poller._lease = 8000.0
redis_transport.GIVE_BACK_AFTER = 60
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("broker")) as server:
        yield server.url(0)


@pytest.fixture
def server(url: str) -> Iterator["redis.Redis"]:
    """Empty at the start of each test."""
    with redis.Redis.from_url(url) as server:
        server.flushall()
        yield server


def connected(url: str, transport: Any = redis_transport.Transport) -> Any:
    return Connection(url, transport=transport, transport_options={"lease": LEASE})


def publish(connection: Any, body: str) -> None:
    with connection.Producer() as producer:
        producer.publish(body, exchange=QUEUE.exchange, routing_key="parcels", declare=[QUEUE])


def get(connection: Any) -> Any:
    return QUEUE(connection.default_channel).get()


@contextmanager
def looping(
    url: str, take: Callable[[str, Any], None], messages: int = 2, in_hand: int = 1
) -> Iterator[Any]:
    """The event loop of a worker that has so many messages in hand at a time."""
    hub: Any = Hub()
    with connected(url) as connection:
        for number in range(messages):
            publish(connection, f"parcel {number}")
        connection.transport.cycle.serve(hub, deque())
        with connection.Consumer(QUEUE, callbacks=[take], prefetch_count=in_hand):
            connection.register_with_event_loop(hub)
            hub.channel = connection.default_channel
            yield hub
        hub.close()


def times_asked(server: "redis.Redis") -> int:
    told: Any = server.info("commandstats")
    return sum(told.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ASKING)


def waits(hub: Any) -> list[float]:
    """How long the loop wanted to wait, each time that nothing ended its wait."""
    poll, waited = hub.poller.poll, []

    def wait(timeout: float) -> Any:
        events = poll(timeout)
        if not events:
            waited.append(timeout)
        return events

    hub.poller.poll = wait
    return waited


class Slowing:
    """A worker in the middle of a task that takes long, after some that did not."""

    def __init__(self, url: str, server: "redis.Redis") -> None:
        self.server = server
        self.taken: list[str] = []
        self.holds: Any = None
        self._loop = looping(url, self._take, messages=10)

    def __enter__(self) -> Self:
        self.hub = self._loop.__enter__()
        self.run_until(lambda: self.holds is not None, "the message that takes long")
        return self

    def __exit__(self, *error: Any) -> None:
        self._loop.__exit__(*error)

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        def ran() -> Any:
            self.hub.run_once()
            return condition()

        wait_until(ran, what)

    def waiting(self) -> list[str]:
        """Bodies of what others may have, the next one first."""
        raws: Any = self.server.lrange("parcels", 0, -1)
        return [b64decode(json.loads(raw)["body"]).decode() for raw in reversed(raws)]

    def _take(self, body: str, message: Any) -> None:
        self.taken.append(body)
        if len(self.taken) == 4:
            self.holds = message
        else:
            self.hub.call_later(0, message.ack)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers count as fast, however slow this machine is."""
    monkeypatch.setattr(redis_transport.Poller, "pace", lambda self: 1_000_000)
    monkeypatch.setattr(redis_transport, "GIVE_BACK_AFTER", 1.0)


@pytest.mark.usefixtures("server")
def test_what_was_fetched_for_a_worker_that_died_comes_back(url: str) -> None:
    with connected(url) as living, connected(url) as dying:
        publish(living, "a parcel")
        # The worker is killed before it reads the answer of Redis.
        dying.default_channel._fetch(["parcels"], 1)

        found: list[Any] = []

        def is_redelivered() -> bool:
            living.default_channel.qos.restore_visible()
            found.append(get(living))
            return found[-1] is not None

        assert not is_redelivered()
        wait_until(is_redelivered, "the message to come back")

    assert found[-1].payload == "a parcel"
    assert found[-1].headers["x-delivery-count"] == 1


@pytest.mark.usefixtures("server")
def test_what_a_living_worker_has_stays_with_it(url: str) -> None:
    with connected(url) as first, connected(url) as second:
        publish(first, "a parcel")
        message = get(first)
        taken_at = _score(first)

        def kept() -> bool:
            first.default_channel.qos.keep()
            second.default_channel.qos.restore_visible()
            return _score(first) > taken_at + 2 * LEASE

        wait_until(kept, "two leases to pass")
        assert get(second) is None
        message.ack()


def test_what_a_worker_has_done_when_it_closes_is_told(url: str, server: "redis.Redis") -> None:
    done: list[Any] = []

    def finish(body: str, message: Any) -> None:
        message.ack()
        done.append(body)

    with connected(url) as connection:
        for number in range(3):
            publish(connection, f"parcel {number}")
        connection.transport.cycle.serve(None, deque())
        with connection.Consumer(QUEUE, callbacks=[finish], prefetch_count=2):
            while len(done) < 3:
                connection.drain_events(timeout=TIMEOUT)

    assert done == ["parcel 0", "parcel 1", "parcel 2"]
    assert server.hlen("unacked") == 0


@pytest.mark.parametrize("headers", [None, {"x-delivery-count": "often"}], ids=repr)
def test_odd_headers_keep_no_message_from_coming_back(
    url: str, server: "redis.Redis", headers: Any
) -> None:
    with connected(url) as connection:
        publish(connection, "a parcel")
        raw: Any = server.rpop("parcels")
        message = json.loads(raw)
        server.lpush("parcels", json.dumps(message | {"headers": headers}))
        (fetched,) = connection.default_channel._fetch(["parcels"], 1)
        connection.default_channel.qos.restore_by_tag(fetched.tag.decode())

        assert get(connection).headers["x-delivery-count"] == 1


def test_a_full_consumer_that_drains_by_hand_keeps_what_it_has(
    url: str, server: "redis.Redis"
) -> None:
    held: list[Any] = []

    def hold(body: str, message: Any) -> None:
        held.append(message)

    def taken_at() -> float:
        found: Any = server.zrange("unacked_index", 0, -1, withscores=True)
        return float(found[0][1])

    with connected(url) as connection, connected(url) as other, ThreadPoolExecutor() as threads:
        publish(other, "a parcel")
        with connection.Consumer(QUEUE, callbacks=[hold], prefetch_count=1):
            connection.drain_events(timeout=TIMEOUT)
            before = taken_at()
            draining = threads.submit(connection.drain_events)
            try:
                wait_until(lambda: taken_at() > before, "the lease to be renewed")
            finally:
                held[0].ack()
                publish(other, "another parcel")
                draining.result(TIMEOUT)

    assert len(held) == 2


def test_a_batch_wakes_who_waits(url: str, server: "redis.Redis") -> None:
    with connected(url) as connection, connection.Producer() as producer:
        with producer.batch():
            for number in range(2):
                producer.publish(
                    f"parcel {number}",
                    exchange=QUEUE.exchange,
                    routing_key="parcels",
                    declare=[QUEUE],
                )
        wake_up = connection.default_channel.wake_up("parcels")

    assert (server.llen("parcels"), server.zcard(wake_up)) == (2, 1)


def test_who_is_woken_wakes_the_next_where_more_is_left(url: str, server: "redis.Redis") -> None:
    with connected(url) as connection:
        for number in range(2):
            publish(connection, f"parcel {number}")
        wake_up = connection.default_channel.wake_up("parcels")
        with connection.Consumer(QUEUE, callbacks=[lambda body, message: message.ack()]):
            connection.drain_events(timeout=TIMEOUT)
            after_the_first = server.zcard(wake_up)
            connection.drain_events(timeout=TIMEOUT)
            after_the_last = server.zcard(wake_up)

    assert (after_the_first, after_the_last) == (1, 0)


@pytest.mark.usefixtures("server")
def test_what_is_done_makes_room_before_the_loop_asks_the_pool_what_to_send(url: str) -> None:
    got: list[str] = []
    asked: list[int] = []
    waits: list[tuple[int, int]] = []

    def take(body: str, message: Any) -> None:
        got.append(body)
        # As a worker does.
        hub.call_soon(message.ack)

    def wait(timeout: float) -> Any:
        waits.append((asked[-1], len(got)))
        return poll(timeout)

    with looping(url, take) as hub:
        poll, hub.poller.poll = hub.poller.poll, wait
        hub.on_tick.add(lambda: asked.append(len(got)))
        while len(got) < 2 and len(waits) < 2 * TIMEOUT:
            hub.run_once()

    assert waits[-1] == (2, 2)
    assert (1, 1) not in waits


@pytest.mark.usefixtures("fast")
def test_a_worker_that_becomes_slow_gives_back_what_it_fetched_ahead(
    url: str, server: "redis.Redis"
) -> None:
    rest = [f"parcel {number}" for number in range(4, 10)]
    with Slowing(url, server) as worker:
        assert worker.waiting() == []
        worker.run_until(lambda: worker.waiting() == rest, "the rest to be given back, in order")
        # As if it had never been taken.
        assert "redelivered" not in str(server.lrange("parcels", 0, -1))
        # What is done is told, too.
        worker.run_until(lambda: server.hlen("unacked") == 1, "one message in hand")
        assert worker.taken == [f"parcel {number}" for number in range(4)]


@pytest.mark.usefixtures("fast")
def test_a_worker_that_does_not_come_round_gives_back_when_it_says_that_it_lives(
    url: str, server: "redis.Redis"
) -> None:
    def is_back() -> bool:
        worker.holds.channel._poller.maybe_restore_messages()
        return len(worker.waiting()) == 6

    with Slowing(url, server) as worker:
        wait_until(is_back, "the rest to be given back")


@pytest.mark.usefixtures("fast")
def test_what_others_did_while_a_worker_stood_still_it_does_not_begin(
    url: str, server: "redis.Redis"
) -> None:
    with Slowing(url, server) as worker:
        server.flushall()
        later = time.monotonic() + 1
        wait_until(lambda: time.monotonic() > later, "it to be time to give them back")
        worker.holds.ack()
        worker.run_until(lambda: not worker.holds.channel.fetched, "nothing to be in hand")

    assert worker.taken == [f"parcel {number}" for number in range(4)]


def test_what_is_fetched_for_a_consumer_that_is_cancelled_meanwhile_goes_back(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = redis_transport.Channel._fetch

    def cancel_meanwhile(channel: Any, *arguments: Any) -> Any:
        found = fetch(channel, *arguments)
        for consumer in list(channel._consumers):
            channel.basic_cancel(consumer)
        return found

    monkeypatch.setattr(redis_transport.Channel, "_fetch", cancel_meanwhile)
    taken: list[str] = []
    with looping(url, lambda body, message: taken.append(body)) as hub:
        wait_until(lambda: hub.run_once() or not hub.channel._active_queues, "it to be cancelled")
        assert (server.llen("parcels"), server.hlen("unacked"), taken) == (2, 0, [])
        assert "redelivered" not in str(server.lrange("parcels", 0, -1))


@pytest.mark.usefixtures("fast")
def test_a_worker_without_an_event_loop_gives_back_as_soon(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(redis_transport, "monotonic", lambda: now[0])
    monkeypatch.setattr(redis_transport, "GIVE_BACK_AFTER", 0.1)
    ahead: list[int] = []
    with connected(url) as connection:
        for number in range(10):
            publish(connection, f"parcel {number}")
        cycle = connection.transport.cycle
        cycle.serve(None, deque())
        waited = waits(cycle)

        def take(body: str, message: Any) -> None:
            ahead.append(len(message.channel.fetched))
            waited.clear()

        def is_back() -> bool:
            with suppress(TimeoutError):
                connection.drain_events(timeout=1)
            now[0] += sum(waited)
            return server.llen("parcels") == 9

        with connection.Consumer(QUEUE, callbacks=[take], prefetch_count=1):
            wait_until(is_back, "the rest to be given back")

    assert ahead == [9]
    assert waited[0] <= 0.1


@pytest.mark.usefixtures("fast")
def test_a_worker_that_stops_gives_back_at_once_what_it_fetched_ahead(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_transport, "GIVE_BACK_AFTER", 1000.0)
    with Slowing(url, server) as worker:
        assert worker.waiting() == []
        channel = worker.holds.channel
        (consumer,) = channel._consumers
        channel.basic_cancel(consumer)
        assert len(worker.waiting()) == 6
        assert server.hlen("unacked") == 1


@pytest.mark.usefixtures("fast")
def test_a_consumer_that_is_cancelled_while_events_are_read_gives_back_after_that(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_transport, "GIVE_BACK_AFTER", 1000.0)
    with Slowing(url, server) as worker:
        channel = worker.holds.channel
        poller = channel._poller
        (consumer,) = channel._consumers
        poller._in_protected_read = True
        channel.basic_cancel(consumer)
        assert worker.waiting() == []
        poller._in_protected_read = False
        poller.after_read.pop()()
        assert len(worker.waiting()) == 6


def test_what_failed_on_one_connection_is_no_error_of_the_next() -> None:
    poller = redis_transport.Poller()
    poller._error = ConnectionError("the old one")
    poller.close()

    # Kombu's loop asks it for ever.
    poller.on_poll_start()


@pytest.mark.usefixtures("fast")
def test_what_was_fetched_ahead_is_kept_as_long_as_its_worker_lives(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_transport, "GIVE_BACK_AFTER", 1000.0)
    with Slowing(url, server) as worker, connected(url) as other:
        later = time.monotonic() + 2 * LEASE

        def has_passed() -> bool:
            other.default_channel.qos.restore_visible()
            return time.monotonic() > later

        worker.run_until(has_passed, "two leases to pass")
        assert worker.waiting() == []


@pytest.mark.usefixtures("fast")
def test_nothing_is_fetched_ahead_beside_a_queue_whose_messages_cannot_be_given_back(
    url: str, server: "redis.Redis"
) -> None:
    def take(body: str, message: Any) -> None:
        ahead.append(len(message.channel.fetched))
        hub.call_later(0, message.ack)

    ahead: list[int] = []
    with looping(url, take, messages=10) as hub:
        hub.channel.basic_consume("letters", True, callback=_fail, consumer_tag="letters")
        wait_until(lambda: hub.run_once() or len(ahead) == 10, "all messages")

    assert set(ahead) == {0}


def test_what_came_back_is_not_fetched_ahead(url: str, server: "redis.Redis") -> None:
    with connected(url) as connection:
        channel = connection.default_channel
        for number in range(3):
            publish(connection, f"parcel {number}")
        messages = [get(connection) for _ in range(3)]
        for message in messages:
            message.requeue()
        server.delete(channel.wake_up("parcels"))

        found = channel._fetch(["parcels"], 3, room=1, was_woken=True)

        assert len(found) == 1
        assert (server.llen("parcels"), server.zcard(channel.wake_up("parcels"))) == (2, 1)


def test_a_worker_with_much_room_waits_for_no_sign_of_what_it_knows(
    url: str, server: "redis.Redis"
) -> None:
    held: list[Any] = []
    with looping(url, lambda body, message: held.append(message), 600, 300) as hub:
        wait_until(lambda: hub.run_once() or len(held) == 300, "the worker to be full")
        server.config_resetstat()
        for message in held[:]:
            message.ack()
        waited = waits(hub)
        wait_until(lambda: hub.run_once() or len(held) == 600, "all messages")
        assert "cmdstat_bzpopmin" not in server.info("commandstats")

    assert waited == []


@pytest.mark.usefixtures("server")
def test_what_need_not_run_makes_room_before_the_loop_waits(url: str) -> None:
    taken: list[str] = []

    def drop(body: str, message: Any) -> None:
        taken.append(body)
        # As a worker does with what has expired, or was revoked.
        hub.call_soon(message.ack)

    with looping(url, drop, messages=20) as hub:
        waited = waits(hub)
        wait_until(lambda: hub.run_once() or len(taken) == 20, "all messages")

    assert waited == []


@pytest.mark.usefixtures("server")
def test_tasks_that_are_due_together_do_not_wait_for_each_other(url: str) -> None:
    fired: list[int] = []
    hub: Any = Hub()
    with connected(url) as connection:
        connection.transport.cycle.serve(hub, deque())
        connection.register_with_event_loop(hub)
        waited = waits(hub)
        for number in range(100):
            hub.timer.call_at(time.monotonic(), fired.append, (number,))
        wait_until(lambda: hub.run_once() or len(fired) == 100, "all timers")
        hub.close()

    # After the last of them it may.
    assert len(waited) <= 1


@pytest.mark.usefixtures("fast")
def test_what_was_fetched_ahead_goes_back_while_many_timers_fire(
    url: str, server: "redis.Redis"
) -> None:
    with Slowing(url, server) as worker:
        later = time.monotonic() + 2
        wait_until(lambda: time.monotonic() > later, "it to be time to give them back")
        for _ in range(1000):
            worker.hub.timer.call_at(0, int)
        worker.run_until(lambda: len(worker.waiting()) == 6, "the rest to be given back")
        assert len(worker.hub.timer) > 500


def test_long_tasks_that_end_together_make_no_worker_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(redis_transport, "monotonic", lambda: now[0])
    poller = redis_transport.Poller()
    paces = []
    for passed, done in [(10, 1), (0.001, 1), (0.001, 1), (0.02, 20), (10, 1)]:
        now[0] += passed
        poller.done += done
        paces.append(round(poller.pace()))

    assert paces == [0, 0, 0, 1000, 0]


@pytest.mark.usefixtures("fast")
def test_what_is_given_back_while_it_is_handed_out_is_handed_out_no_more(
    url: str, server: "redis.Redis"
) -> None:
    taken: list[str] = []

    def take(body: str, message: Any) -> None:
        taken.append(body)
        hub.call_later(0, message.ack)
        if len(taken) == 2:
            # As a signal may.
            message.channel.give_back()

    with looping(url, take, messages=10) as hub:
        wait_until(lambda: hub.run_once() or len(taken) == 10, "all messages")
        wait_until(lambda: hub.run_once() or not server.hlen("unacked"), "all to be told")

    assert taken == [f"parcel {number}" for number in range(10)]


def test_what_another_worker_has_by_now_is_not_given_back(url: str, server: "redis.Redis") -> None:
    with connected(url) as stalled, connected(url) as other:
        publish(other, "a parcel")
        channel = stalled.default_channel
        channel.fetched.extend(channel._fetch(["parcels"], 1))
        server.zadd("unacked_index", {channel.fetched[0].tag: 0})
        other.default_channel.qos.restore_visible()
        message = get(other)

        channel.give_back()

        assert (server.llen("parcels"), server.hlen("unacked")) == (0, 1)
        message.ack()


def test_all_queues_are_cancelled_while_redis_is_away(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = [QUEUE, Queue("letters", Exchange("letters"), routing_key="letters")]
    with connected(url) as connection:
        publish(connection, "a parcel")
        channel = connection.default_channel
        consumer = connection.Consumer(queues, callbacks=[_fail])
        consumer.consume()
        channel.fetched.extend(channel._fetch(["parcels"], 1))
        with monkeypatch.context() as patch:
            patch.setattr(channel, "run", _fail)
            consumer.cancel()
        assert not channel._active_queues

    assert (server.llen("parcels"), server.hlen("unacked")) == (1, 0)


def test_what_is_done_is_told_before_it_is_looked_for_what_is_lost(
    url: str, server: "redis.Redis"
) -> None:
    hub: Any = Hub()
    with connected(url) as lost, connected(url) as next_one:
        publish(lost, "a parcel")
        (fetched,) = lost.default_channel._fetch(["parcels"], 1)
        server.zadd("unacked_index", {fetched.tag: 0})
        assert next_one.default_channel
        next_one.register_with_event_loop(hub)
        next_one.transport.cycle.serve(hub, deque([fetched.tag]))
        with next_one.Consumer(QUEUE):
            hub.run_once()
            assert (server.llen("parcels"), server.hlen("unacked")) == (0, 0)
        hub.close()


def test_what_was_taken_and_cannot_be_read_is_buried(url: str, server: "redis.Redis") -> None:
    with connected(url) as connection:
        for tag, taken in [("odd", b'[{"headers": [1], "properties": {}}, "", ""]'), ("no", b"?")]:
            server.hset("unacked", tag, taken)
            server.zadd("unacked_index", {tag: 0})

        connection.default_channel.qos.restore_visible()

    assert (server.hlen("unacked"), server.zcard("unacked_index")) == (0, 0)
    assert server.llen(DEAD_LETTERS) == 2


def test_what_cannot_be_told_is_told_later(url: str, server: "redis.Redis") -> None:
    with connected(url) as connection:
        publish(connection, "a parcel")
        channel = connection.default_channel
        message = get(connection)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(channel, "run", _fail)
            with pytest.raises(redis.ConnectionError):
                message.ack()
        assert server.hlen("unacked") == 1

    assert (server.hlen("unacked"), server.llen("parcels")) == (0, 0)


def test_what_one_connection_could_not_tell_is_told_by_the_next(
    url: str, server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    done: deque[str] = deque()

    def finish(body: str, message: Any) -> None:
        monkeypatch.setattr(message.channel, "run", _fail)
        message.ack()

    with connected(url) as broken:
        publish(broken, "a parcel")
        broken.transport.cycle.serve(None, done)
        with (
            pytest.raises(redis.ConnectionError),
            broken.Consumer(QUEUE, callbacks=[finish]),
        ):
            broken.drain_events(timeout=TIMEOUT)
    assert server.hlen("unacked") == 1

    with connected(url) as other:
        other.default_channel.connection.cycle.serve(None, done)
        with other.Consumer(QUEUE), pytest.raises(TimeoutError):
            other.drain_events(timeout=0.1)
        assert (server.hlen("unacked"), server.llen("parcels")) == (0, 0)


@pytest.mark.usefixtures("server")
def test_leases_are_kept_while_a_worker_fires_many_timers(url: str) -> None:
    hub: Any = Hub()
    with connected(url) as connection:
        publish(connection, "a parcel")
        message = get(connection)
        taken_at = _score(connection)
        connection.transport.cycle.serve(hub, deque())
        connection.register_with_event_loop(hub)
        for _ in range(1000):
            hub.timer.call_at(time.monotonic(), int)

        def kept() -> bool:
            # Fires ten timers.
            hub.run_once()
            return _score(connection) > taken_at

        wait_until(kept, "the lease to be renewed")
        assert len(hub.timer.queue) > 500
        message.ack()
        hub.close()


@pytest.mark.usefixtures("server")
def test_an_error_while_a_task_is_handed_out_ends_the_loop(url: str) -> None:
    def fail(body: str, message: Any) -> None:
        if body == "parcel 1":
            raise LookupError("on purpose")
        hub.call_soon(message.ack)

    def run() -> None:
        for _ in range(20):
            hub.run_once()

    with looping(url, fail) as hub, pytest.raises(LookupError):
        run()


@pytest.mark.usefixtures("server")
def test_keys_with_a_prefix_are_found_again(url: str) -> None:
    channel: Any
    options = {"lease": LEASE, "global_keyprefix": "shop."}
    with Connection(
        url, transport=redis_transport.Transport, transport_options=options
    ) as connection:
        publish(connection, "a parcel")
        get(connection).requeue()
        get(connection).ack()
        assert get(connection) is None
        channel = connection.default_channel
        assert channel.client.keys("*unacked*") == []


def _fail(*_: Any) -> None:
    raise redis.ConnectionError("Redis is away")


def _score(connection: Any) -> float:
    channel = connection.default_channel
    ((_, score),) = channel.client.zrange(channel.unacked_index_key, 0, -1, withscores=True)
    return float(score)


@pytest.mark.usefixtures("server")
def test_plain_celery_and_this_transport_share_a_broker(url: str) -> None:
    with connected(url) as ours, connected(url, plain_transport.Transport) as plain:
        publish(plain, "from plain")
        publish(ours, "from ours")
        first, second = get(ours), get(plain)
        assert [first.payload, second.payload] == ["from plain", "from ours"]
        first.requeue()
        second.requeue()
        again = {get(plain).payload for _ in range(2)}

    assert again == {"from plain", "from ours"}


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b"no JSON",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"properties": {}}',
        b'{"properties": {"delivery_tag": 1, "delivery_info": {}}}',
        b'{"properties": {"delivery_tag": "1", "delivery_info": {}, "body_encoding": "base64"},'
        b' "body": "a"}',
        b'{"properties": {"delivery_tag": "1", "delivery_info": {}, "body_encoding": "rot"},'
        b' "body": "a"}',
    ],
    ids=repr,
)
def test_what_cannot_be_read_is_buried_and_the_next_one_delivered(
    url: str, server: "redis.Redis", unreadable: bytes
) -> None:
    received: list[str] = []
    told: list[dict[str, Any]] = []

    def hear(about: dict[str, Any], **_: Any) -> None:
        told.append(about)

    buried.connect(hear)
    with connected(url) as connection:
        server.lpush("parcels", unreadable)
        publish(connection, "a parcel")
        with connection.Consumer(QUEUE, no_ack=False) as consumer:
            consumer.register_callback(lambda body, message: received.append(body))
            while not received:
                connection.drain_events(timeout=TIMEOUT)
        (letter,) = server.lrange(DEAD_LETTERS, 0, -1)
        envelope = json.loads(letter)
        body = connection.default_channel.decode_body(
            envelope["body"], envelope["properties"]["body_encoding"]
        )

    assert received == ["a parcel"]
    assert told == [envelope["headers"]["dead_letter"]]
    assert (told[0]["queue"], told[0]["reason"]) == ("parcels", "unreadable")
    assert body in (unreadable, unreadable.decode(errors="replace"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, TASK_LEASE=str(LEASE), SHUTDOWN_TIMEOUT="0.5") as service:
        yield service


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With workers that may take their time to stop."""
    with running_service(tmp_path_factory.mktemp("patient"), TASK_LEASE=str(LEASE)) as service:
        yield service


def test_a_task_that_takes_longer_than_the_lease_runs_once(
    service: Service, tmp_path: Path
) -> None:
    with service.worker(), service.worker(name="other@localhost"):
        hanging = service.hang(tmp_path / "hanging")
        hanging.wait_for_run()
        later = time.monotonic() + 3 * LEASE
        wait_until(lambda: time.monotonic() > later, "three leases to pass")
        hanging.end()
        service.value(hanging.result)

    assert len(hanging.runs()) == 1


def test_a_task_that_ends_long_after_its_worker_was_told_to_stop_runs_once(
    patient: Service, tmp_path: Path
) -> None:
    hanging = patient.hang(tmp_path / "hanging")
    with patient.worker() as leaving:
        hanging.wait_for_run()
        with patient.worker(name="other@localhost"):
            leaving.terminate()
            later = time.monotonic() + 3 * LEASE
            wait_until(lambda: time.monotonic() > later, "three leases to pass")
            hanging.end()
            patient.value(hanging.result)
            leaving.wait(TIMEOUT)

    assert len(hanging.runs()) == 1


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(0.001, 0, 50), (1, 100, 1000)], ids=["short", "long"]
)
def test_redis_is_asked_once_for_several_short_tasks_and_for_each_long_one(
    url: str,
    server: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    least: int,
    most: int,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(redis_transport, "monotonic", lambda: now[0])
    taken: list[str] = []

    def take(body: str, message: Any) -> None:
        taken.append(body)
        now[0] += seconds
        message.ack()

    with connected(url) as worker:
        for number in range(100):
            publish(worker, f"parcel {number}")
        worker.transport.cycle.serve(None, deque())
        server.config_resetstat()
        with worker.Consumer(QUEUE, callbacks=[take], prefetch_count=1):
            while len(taken) < 100:
                worker.drain_events(timeout=TIMEOUT)
        assert least <= times_asked(server) < most


def test_a_worker_fetches_ahead(service: Service, tmp_path: Path) -> None:
    (service.folder / "fast.py").write_text(FAST)
    lines = tmp_path / "lines"
    for number in range(100):
        service.send("probe.write", str(lines), str(number), ignore_result=True)
    with redis.Redis.from_url(service.environment["CELERY_BROKER_URL"]) as server:
        server.config_resetstat()
        with service.worker("-I", "probe,fast"):
            wait_until(
                lambda: lines.exists() and len(lines.read_text().split()) == 100, "all tasks"
            )
            assert times_asked(server) < 50


def test_a_worker_asks_others_what_was_revoked_and_waits_for_none_where_none_is(
    service: Service, tmp_path: Path
) -> None:
    broker: Any = redis.Redis.from_url(service.environment["CELERY_BROKER_URL"])
    with broker, broker.pubsub() as listening:
        listening.subscribe("/0.celery.pidbox")
        with service.worker(), service.busy(tmp_path):
            revoked = service.send("probe.write", str(tmp_path / "lines"), "revoked")
            service.ask("control", "revoke", revoked.id)
            with service.worker(name="other@localhost"):
                wait_until(lambda: not service.waiting("default"), "the other worker to take it")
                service.value(service.send("hello.greet", "Ada"))
        asked = _methods(listening)

    assert asked.count("hello") == 1, asked
    assert not (tmp_path / "lines").exists()


def test_a_worker_that_may_not_ask_who_listens_starts(service: Service) -> None:
    server: Any = redis.Redis.from_url(service.environment["CELERY_BROKER_URL"])
    with server:
        server.execute_command("ACL", "SETUSER", "default", "-pubsub|numpat")
        try:
            with service.worker():
                service.value(service.send("hello.greet", "Ada"))
        finally:
            server.execute_command("ACL", "SETUSER", "default", "+pubsub|numpat")


def _methods(listening: Any) -> list[str]:
    """What was asked of all workers."""
    found = []
    while message := listening.get_message(timeout=1):
        if message["type"] == "message":
            asked: Any = json.loads(b64decode(json.loads(message["data"])["body"]))
            found.append(asked["method"])
    return found


def test_delayed_tasks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, service.worker() as worker:
        with service.batch():
            for _ in range(1000):
                service.send("hello.greet", "Ada", countdown=3600)
        wait_until(lambda: not service.waiting("default"), "the worker to take all of them")
        assert service.value(service.send("hello.greet", "Bob")) == "Hello, Bob!"
        kill(worker)


def test_a_task_of_a_killed_worker_runs_again_in_seconds(service: Service, tmp_path: Path) -> None:
    with service.worker() as worker:
        hanging = service.hang(tmp_path / "hanging")
        hanging.wait_for_run()
        kill(worker)
    with service.worker():
        hanging.wait_for_run(2)
        hanging.end()
        service.value(hanging.result)
