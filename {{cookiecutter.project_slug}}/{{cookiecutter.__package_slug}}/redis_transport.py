"""Redis as a broker that loses nothing: a task is recorded as taken before it leaves its queue."""

# What Kombu's types leave out of its Redis transport.
# mypy: disable-error-code="arg-type, attr-defined, misc, name-defined, union-attr"

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from time import monotonic
from typing import Any, NamedTuple

import structlog
from celery import current_app
from kombu.asynchronous import Hub
from kombu.log import get_logger
from kombu.transport import redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from redis.exceptions import RedisError

from .dead_letters import DELIVERIES, HEADER, buried
from .queues import DEAD_LETTERS

logger = get_logger(__name__)
log = structlog.stdlib.get_logger()

# Tasks that a worker fetches at once, what it fetches ahead included.
MOST_AT_ONCE = 100
# Seconds of work that a worker fetches beyond what it has room for, at the pace it has had.
READ_AHEAD = 0.02
# Seconds after which others may have what it could not begin after all.
GIVE_BACK_AFTER = 0.1
# Tags that are told of at once: Lua takes no more than some thousand arguments.
MOST_TAGS_AT_ONCE = 1000

# With Kombu's own pop, what Redis has sent and the worker has not recorded yet dies with it.
# Nothing leaves its list before it is recorded: a script that fails undoes nothing.
# KEYS: taken tasks, their index, then pairs of a list and the wake-up of its queue.
# ARGV: how many, for how many of them there is room, score to add to the time, whether a wake-up
# was used, then for each list whether tasks of it are recorded, then the tags of what is done.
TURN = """#!lua flags=allow-oom
local done = 5 + (#KEYS - 2) / 2
if ARGV[done] then
  redis.call('HDEL', KEYS[1], unpack(ARGV, done))
  redis.call('ZREM', KEYS[2], unpack(ARGV, done))
end
local wanted, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {}
if wanted == 0 then return found end
local time = redis.call('TIME')
local score = time[1] + time[2] / 1000000 + ARGV[3]
for key = 3, #KEYS, 2 do
  local list, recorded = KEYS[key], ARGV[(key + 7) / 2] == '1'
  local place = (key - 3) / 2
  local raws = #found < wanted and redis.call('LRANGE', list, #found - wanted, -1) or {}
  local taken, scores = {}, {}
  local unreadable
  for last = #raws, 1, -1 do
    local raw, tag = raws[last], ''
    if recorded then
      local readable, message = pcall(cjson.decode, raw)
      local properties = readable and type(message) == 'table' and message.properties
      local delivery = type(properties) == 'table' and properties.delivery_info
      tag = type(delivery) == 'table' and properties.delivery_tag
      if type(tag) ~= 'string' then
        unreadable = raw
        break
      end
      if #found >= room and delivery.redelivered then
        -- Whoever had it may have died of it. What is fetched with it would count as its victim.
        wanted = #found
        break
      end
      local source = cjson.encode(delivery.exchange) .. ',' .. cjson.encode(delivery.routing_key)
      taken[#taken + 1] = tag
      taken[#taken + 1] = '[' .. raw .. ',' .. source .. ']'
      scores[#scores + 1] = score
      scores[#scores + 1] = tag
    end
    found[#found + 1] = {place, raw, tag}
  end
  if #taken > 0 then
    redis.call('HSET', KEYS[1], unpack(taken))
    redis.call('ZADD', KEYS[2], unpack(scores))
  end
  local leaving = recorded and #taken / 2 or #raws
  if leaving > 0 then redis.call('RPOP', list, leaving) end
  if unreadable then
    found[#found + 1] = {place, unreadable, false}
    redis.call('ZADD', KEYS[key + 1], 0, '')
  elseif ARGV[4] == '1' and #found >= room and redis.call('EXISTS', list) == 1 then
    redis.call('ZADD', KEYS[key + 1], 0, '')
  end
end
return found
"""
# KEYS: taken tasks, their index, then pairs of a list and the wake-up of its queue.
# ARGV: tag, what was taken, what goes back, the command that puts it there.
GIVE_BACK = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
for key = 3, #KEYS, 2 do
  redis.call(ARGV[4], KEYS[key], ARGV[3])
  redis.call('ZADD', KEYS[key + 1], 0, '')
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
# KEYS: taken tasks, their index, then for each message its list and the wake-up of its queue.
# ARGV: for each message its tag, and what it was in its list.
PUT_BACK = """#!lua flags=allow-oom
for place = 1, #ARGV, 2 do
  local tag, raw = ARGV[place], ARGV[place + 1]
  local taken = redis.call('HGET', KEYS[1], tag)
  -- What another worker has taken meanwhile tells of its second delivery.
  if taken and string.sub(taken, 1, #raw + 2) == '[' .. raw .. ',' then
    redis.call('RPUSH', KEYS[place + 2], raw)
    redis.call('ZADD', KEYS[place + 3], 0, '')
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
end
"""
# KEYS: index of taken tasks. ARGV: score to add to the time, tags.
KEEP = """#!lua flags=allow-oom
local time = redis.call('TIME')
for tag = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', time[1] + time[2] / 1000000 + ARGV[1], ARGV[tag])
end
"""
# KEYS: index of taken tasks. ARGV: visibility timeout, first and number of what is returned.
FIND_LOST = """
local time = redis.call('TIME')
local oldest = time[1] + time[2] / 1000000 - ARGV[1]
return redis.call('ZRANGE', KEYS[1], '-inf', oldest, 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3])
"""
# KEYS: a list, the dead letters. ARGV: the message, what is kept of it.
BURY = """#!lua flags=allow-oom
if redis.call('LINDEX', KEYS[1], -1) == ARGV[1] then
  redis.call('LPUSH', KEYS[2], ARGV[2])
  redis.call('RPOP', KEYS[1])
end
"""


class UnreadableMessage(Exception):
    """What is in a queue is no message."""


class Message(virtual.Message):
    """Kombu's own, which tells a message that cannot be read from a consumer that fails."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **options)
        except Exception as error:
            raise UnreadableMessage(repr(error)) from error


class QoS(redis.QoS):
    """The tasks that a worker has taken: it must say that it lives, or they go to another one."""

    def append(self, message: Any, delivery_tag: Any) -> None:
        # It was recorded as it was fetched.
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self.channel.acknowledged.append(delivery_tag)
        self.channel._poller.done += 1
        self._let_go(delivery_tag)
        if not self.channel.takes_turns:
            self.channel.tell()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            self.restore_by_tag(delivery_tag, leftmost=True)
            self._let_go(delivery_tag)
        else:
            self.ack(delivery_tag)

    def _let_go(self, delivery_tag: str) -> None:
        virtual.QoS.ack(self, delivery_tag)
        if self.channel.takes_turns:
            self.channel._poller.ring()

    def restore_unacked(self, client: Any = None) -> None:
        self._flush()
        self.channel.give_back()
        for tag in list(self._delivered):
            # Who stops in good order did not die of its tasks.
            self.restore_by_tag(tag, counted=False)
        self._delivered.clear()

    def _in_hand(self) -> list[str]:
        fetched = [fetched.tag for fetched in list(self.channel.fetched) if fetched.tag]
        return list(self._delivered) + [bytes_to_str(tag) for tag in fetched]

    def keep(self) -> None:
        """Say that this worker lives."""
        # A worker without a place for what it has in hand takes no turns.
        self.channel.tell()
        self._flush()
        if tags := self._in_hand():
            self.channel.run(KEEP, [self.unacked_index_key], self.channel.score, *tags)

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Put back the tasks of workers that say so no more."""
        most = num or MOST_AT_ONCE
        lost = self.channel.run(
            FIND_LOST, [self.unacked_index_key], self.visibility_timeout, start, most
        )
        for tag in lost:
            self.restore_by_tag(bytes_to_str(tag))

    def restore_by_tag(
        self, tag: str, client: Any = None, leftmost: bool = False, counted: bool = True
    ) -> None:
        channel = self.channel
        if channel.connection is None:
            # A lost connection. Nobody says any more that the task is in good hands.
            return
        with channel.conn_or_acquire() as commands:
            taken = commands.hget(self.unacked_key, tag)
        if taken is None:
            self._remove_from_indices(tag).execute()
            return
        try:
            payload, priority, exchange, routing_key = self._read(taken, counted)
        except Exception as error:
            # By whatever wrote it: each worker that finds it lost would end of it.
            unreadable = Fetched(self.unacked_key, "", taken, tag.encode())
            channel._bury(unreadable, UnreadableMessage(repr(error)))
            return
        keys = [self.unacked_key, self.unacked_index_key]
        for queue in channel._lookup(exchange, routing_key):
            keys += [channel._q_for_pri(queue, priority), channel.wake_up(queue)]
        side = "LPUSH" if leftmost else "RPUSH"
        channel.run(GIVE_BACK, keys, tag, taken, dumps(payload), side)

    def _read(self, taken: bytes, counted: bool) -> tuple[dict[str, Any], Any, str, str]:
        """What goes back, its priority, and where from."""
        payload, exchange, routing_key = loads(bytes_to_str(taken))
        headers = payload["headers"] = payload.get("headers") or {}
        headers["redelivered"] = True
        if counted:
            count = headers.get(DELIVERIES)
            headers[DELIVERIES] = (count if isinstance(count, int) else 0) + 1
        payload["properties"]["delivery_info"]["redelivered"] = True
        priority = self.channel._get_message_priority(payload, reverse=False)
        return payload, priority, str(exchange or ""), str(routing_key or "")


class Fetched(NamedTuple):
    """A message as it came from Redis. Without a tag it is still in its list."""

    queue: str
    key: str
    raw: bytes
    tag: bytes | None


class Channel(redis.Channel):
    """Fetches tasks by a script, and waits for a sign that there are some.

    A worker tells in turns what is done, and fetches what it begins soon. Shares a broker with
    workers of plain Celery that have the same visibility timeout.
    """

    QoS = QoS
    Message = Message
    # Seconds after which a worker that gives no sign has lost its tasks.
    lease = 8.0
    from_transport_options = (*redis.Channel.from_transport_options, "lease")

    def __init__(self, *args: Any, **options: Any) -> None:
        self._unrecorded: set[str] = set()
        # What is not handed out yet.
        self.fetched: deque[Fetched] = deque()
        # Whether more than was fetched may wait.
        self._has_more = False
        super().__init__(*args, **options)
        self._poller: Poller = self.connection.cycle  # type: ignore[assignment]
        # Also for what is said after the channel is closed.
        self._commands = self._create_client()
        self._scripts = {
            script: self._commands.register_script(script)
            for script in (TURN, GIVE_BACK, PUT_BACK, KEEP, FIND_LOST, BURY)
        }

    @property
    def score(self) -> float:
        """What, added to the time, makes a task look lost when the lease is over.

        In Kombu's format a task is lost when its score is older than the visibility timeout.
        """
        return min(self.lease - self.visibility_timeout, 0)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        yield client or self.__dict__.get("_commands") or self._create_client()

    def run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        # Kombu's client sees to the prefix of the first key, and of no other.
        return self._scripts[script]([keys[0], *self._prefixed(keys[1:])], arguments)

    def wake_up(self, queue: str) -> str:
        """The key that tells one waiting worker to look into the queue."""
        return f"{queue}{self.sep}wake"

    @property
    def acknowledged(self) -> deque[str]:
        """Tags of what is done, and Redis does not know it yet."""
        return self._poller.acknowledged

    @property
    def takes_turns(self) -> bool:
        """Whether a worker consumes by this channel, and soon has its next turn."""
        return bool(self.connection and self._poller.serves_worker and self._active_queues)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **options: Any) -> Any:
        (self._unrecorded.add if no_ack else self._unrecorded.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **options)

    def _basic_cancel(self, consumer_tag: str) -> Any:
        cancelled = super()._basic_cancel(consumer_tag)
        if not self._closing:
            # With a Redis that is away for now the other queues must be cancelled all the same.
            with suppress(RedisError):
                self.give_back()
            if not self._active_queues:
                with suppress(RedisError):
                    self.tell()
        return cancelled

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        if no_ack or not self.ack_emulation:
            return super().basic_get(queue, no_ack, **options)
        for fetched in self._fetch([queue], 1):
            try:
                message = self.Message(self._payload(fetched), channel=self)
            except UnreadableMessage as error:
                self._bury(fetched, error)
                return self.basic_get(queue, **options)
            self.qos.append(message, message.delivery_tag)
            return message
        return None

    def close(self) -> None:
        with suppress(RedisError):
            self.tell()
        with suppress(RedisError):
            self.give_back()
        super().close()
        self._commands.connection_pool.disconnect()

    def create_publish_batch(self, max_size: int) -> "PublishBatch":
        return PublishBatch(self, max_size)

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        batch = options.get("_publish_batch")
        if batch is None:
            self.wake(self._commands, queue)
        else:
            batch.queues.add(queue)

    def wake(self, client: Any, queue: str) -> None:
        """Tell one waiting worker to look into the queue."""
        key = self.wake_up(queue)
        client.zadd(key, {"": 0})
        if queue in self._expires:
            client.pexpire(key, self._expires[queue])

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        self.qos.restore_by_tag(message.delivery_tag, leftmost=leftmost, counted=False)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if not self.active_queues:
            return
        if self.takes_turns and (self.fetched or self._has_more):
            # No sign would come of what is known.
            self._poller.ring()
            return
        connection = self.client.connection
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        wake_ups = self._prefixed([self.wake_up(queue) for queue in self.active_queues])
        connection.send_command("BZPOPMIN", *wake_ups, timeout or self.brpop_timeout)

    def _brpop_read(self, **options: Any) -> bool:
        try:
            self.client.parse_response(self.client.connection, "BZPOPMIN", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        # After a while without a sign, too: plain Celery gives none, and one may get lost.
        if self._closing or not self._receive_all(was_woken=True):
            raise Empty
        return True

    def fetch_more(self) -> bool:
        """Fetch what there is room for, if more may wait. Whether something came."""
        return bool(self.fetched or self._has_more) and not self._in_poll and self._receive_all()

    def tell(self) -> None:
        """Tell Redis what is done."""
        while self.acknowledged:
            self._fetch([], 0)

    @property
    def tells_later(self) -> bool:
        """Whether what is done is told with what is fetched next, or soon after."""
        return self._poller.settles_soon and bool(self.fetched or self._has_more)

    def give_back(self) -> None:
        """Let others have what this worker has no room for."""
        parked, self.fetched = self.fetched, deque()
        keys = [self.unacked_key, self.unacked_index_key]
        messages: list[bytes] = []
        # The last one first: each becomes the next of its queue.
        for fetched in reversed(parked):
            if fetched.tag:
                keys += [fetched.key, self.wake_up(fetched.queue)]
                messages += [fetched.tag, fetched.raw]
        if not messages:
            return
        try:
            self.run(PUT_BACK, keys, *messages)
        except BaseException:
            self.fetched.extendleft(reversed(parked))
            raise

    def _receive_all(self, was_woken: bool = False) -> bool:
        received = 0
        while received < self._poller.most_at_once:
            room = self.qos.can_consume_max_estimate()
            most = self._poller.most_at_once - received
            most = most if room is None else min(room, most)
            if not most:
                break
            if not self.fetched:
                self._fetch_ahead(most, was_woken)
            for _ in range(most):
                # A signal may have had all of them given back, or their consumer cancelled.
                if self.fetched and self.fetched[0].queue not in self._active_queues:
                    self.give_back()
                if not self.fetched:
                    break
                self._hand_out(self.fetched.popleft())
                received += 1
            if not (self.fetched or self._has_more):
                break
        if not self.tells_later:
            self.tell()
        return received > 0

    def _fetch_ahead(self, room: int, was_woken: bool) -> None:
        """Fetch what there is room for, and what a worker that is this fast begins soon after.

        The next tasks of short ones then cost no round trip each.
        """
        queues = self._queue_cycle.consume(len(self.active_queues))
        most = max(room, min(room + self._ahead(queues), MOST_AT_ONCE))
        found = self._fetch(queues, most, room, was_woken)
        # Only now: a signal may have had the ones before given back meanwhile.
        self.fetched.extend(found)
        self._has_more = len(self.fetched) >= room
        if len(self.fetched) > room:
            self._poller.settle_later()

    def _ahead(self, queues: Sequence[str]) -> int:
        can_give_back = self.ack_emulation and self._unrecorded.isdisjoint(queues)
        # Who drains events by hand may not come back to give back what was not begun.
        gives_back = can_give_back and self._poller.serves_worker
        return int(self._poller.pace() * READ_AHEAD) if gives_back else 0

    def _hand_out(self, fetched: Fetched) -> None:
        self._queue_cycle.rotate(fetched.queue)
        try:
            self.connection._deliver(self._payload(fetched), fetched.queue)
        except UnreadableMessage as error:
            self._bury(fetched, error)

    def _prefixed(self, keys: Sequence[str]) -> list[str]:
        return [f"{self.global_keyprefix}{key}" for key in keys]

    def _lists(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """Each queue with its lists, those of the first priority first."""
        steps = self.priority_steps
        return [(queue, self._q_for_pri(queue, step)) for step in steps for queue in queues]

    def _fetch(
        self, queues: Sequence[str], most: int, room: int | None = None, was_woken: bool = False
    ) -> list[Fetched]:
        """Fetch messages, and tell of what is done in the same round trip.

        None is fetched beyond the room that has been delivered before.

        Who was woken must wake the next one where there is more: a wake-up is used only once.
        """
        lists = self._lists(queues)
        keys = [self.unacked_key, self.unacked_index_key]
        for queue, key in lists:
            keys += [key, self.wake_up(queue)]
        recorded = [int(self.ack_emulation and queue not in self._unrecorded) for queue, _ in lists]
        done: list[str] = []
        with suppress(IndexError):
            while len(done) < MOST_TAGS_AT_ONCE:
                done.append(self.acknowledged.popleft())
        try:
            room = most if room is None else room
            arguments = (most, room, self.score, int(was_woken), *recorded, *done)
            found = self.run(TURN, keys, *arguments)
        except BaseException:
            self.acknowledged.extend(done)
            raise
        return [Fetched(*lists[position], *message) for position, *message in found]

    def _payload(self, fetched: Fetched) -> Any:
        if fetched.tag is None:
            raise UnreadableMessage("it has no delivery tag")
        try:
            return loads(bytes_to_str(fetched.raw))
        except ValueError as error:
            raise UnreadableMessage(repr(error)) from error

    def _bury(self, fetched: Fetched, error: UnreadableMessage) -> None:
        letter = self.prepare_message(fetched.raw, content_type="application/octet-stream")
        self._inplace_augment_message(letter, DEAD_LETTERS, DEAD_LETTERS)
        about = {
            "id": letter["properties"]["delivery_tag"],
            "task": None,
            "queue": fetched.queue,
            "reason": "unreadable",
            "error": str(error),
        }
        letter["headers"] = {HEADER: about}
        if fetched.tag is None:
            self.run(BURY, [fetched.key, DEAD_LETTERS], fetched.raw, dumps(letter))
        else:
            with self._commands.pipeline() as together:
                together.lpush(DEAD_LETTERS, dumps(letter))
                self.qos._remove_from_indices(bytes_to_str(fetched.tag), together)
                together.execute()
        log.error("a task is among the dead letters", **about)
        buried.send(sender=current_app, headers={}, about=about)


class PublishBatch(redis.PublishBatch):
    """Kombu's own, after which one worker looks into each queue, and wakes the next."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        super().__init__(channel, max_size)
        # Never emptied: what was put into one may be sent only after a flush.
        self.queues: set[str] = set()

    def flush(self) -> None:
        if self._buffered:
            for queue in self.queues:
                self.channel.wake(self.pipeline, queue)
        super().flush()


class Poller(redis.MultiChannelPoller):
    """What waits for all channels of a connection."""

    # Who drains events by hand expects one at a time.
    most_at_once = 1
    serves_worker = False
    hub: Hub | None = None
    # How many tasks were done.
    done = 0
    _kept_at = 0.0
    # Rung to end a wait: something is to be done.
    _bell: tuple[socket.socket, socket.socket] | None = None
    _is_rung = False
    _is_drained = False
    _settles_at: float | None = None
    _error: Exception | None = None
    _pace, _paced_at, _done_then = 0.0, 0.0, 0

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: deque[str] = deque()

    def serve(self, hub: Hub | None, acknowledged: deque[str]) -> None:
        """Take turns from now on, for a worker with this event loop, or with none.

        Begins with what the worker could not tell by the connection that it had before.
        """
        self.most_at_once, self.serves_worker = MOST_AT_ONCE, True
        self.hub, self.acknowledged = hub, acknowledged
        self._bell = bell = socket.socketpair()
        for end in bell:
            end.setblocking(False)
        if hub is None:
            self.poller.register(bell[0], self.eventflags)
        else:
            hub.add_reader(bell[0], self._hear)

    def ring(self) -> None:
        """Have a turn taken soon."""
        if self._is_rung:
            return
        self._is_rung = True
        if self.hub is None:
            self._end_wait()
        else:
            # After all that is done now, and before the loop asks the pool what to send to its
            # processes. What came later would stay here until something else ends the loop's wait.
            self.hub.call_later(0, self._answer)

    def _hear(self) -> None:
        if self._bell is not None:
            with suppress(BlockingIOError):
                self._bell[0].recv(100)

    def _end_wait(self) -> None:
        if self._bell is not None:
            with suppress(OSError):
                self._bell[1].send(b"!")

    def _answer(self) -> None:
        self._is_rung = False
        try:
            self._take_turns()
        except Exception as error:
            # A timer's error is forgotten, and with it a task that could not be handed out. Raised
            # before the next wait it ends what an error ends elsewhere, and all tasks go back.
            self._error = error

    def pace(self) -> float:
        """Tasks a second, of late."""
        now = monotonic()
        # Two long tasks that end together do not make a worker fast.
        if (since := now - self._paced_at) >= READ_AHEAD:
            self._pace = (self.done - self._done_then) / since
            self._paced_at, self._done_then = now, self.done
        return self._pace

    @property
    def settles_soon(self) -> bool:
        return self._settles_at is not None

    def settle_later(self) -> None:
        """Have what is fetched ahead given back, unless it is begun soon."""
        self._settles_at = monotonic() + GIVE_BACK_AFTER
        if self.hub is not None:
            # The loop comes round then, and would not otherwise.
            self.hub.call_later(GIVE_BACK_AFTER, int)

    def _settle(self) -> None:
        if self._settles_at is None or monotonic() < self._settles_at:
            return
        due, self._settles_at = self._settles_at, None
        channels = list(self._channels)
        try:
            for channel in channels:
                channel.give_back()
            if channels:
                channels[0].tell()
        except BaseException:
            self._settles_at = due
            raise

    def close(self) -> None:
        super().close()
        # The loop still asks, and the next connection has no part in it.
        self._error = None
        if self._bell:
            (self.poller.unregister if self.hub is None else self.hub.remove)(self._bell[0])
            for end in self._bell:
                end.close()
            self._bell = None

    @property
    def fds(self) -> dict[int, Any]:
        """Of what is waited for: with none Kombu would sleep, and hear no bell."""
        found: dict[int, Any] = super().fds
        bell = self._bell if self.hub is None else None
        return {**found, bell[0].fileno(): None} if bell else found

    @property
    def _lease(self) -> float:
        return min((channel.lease for channel in list(self._channels)), default=Channel.lease)

    def on_poll_init(self, poller: Any) -> None:
        # Kombu looks for lost tasks here, before what is done is told.
        self.poller = poller

    def on_poll_start(self) -> None:
        if (error := self._error) is not None:
            self._error = None
            raise error
        super().on_poll_start()
        # The loop's timers come too late when many delayed tasks are due.
        self.maybe_restore_messages()
        if self.hub is not None and not self._is_drained and self._has_to_come_round(self.hub):
            self._end_wait()

    def _has_to_come_round(self, hub: Any) -> bool:
        # The loop looks at neither again before it waits, and fires ten timers at a time.
        timers = hub.timer._queue
        return bool(hub._ready or (timers and timers[0].eta <= monotonic()))

    def maybe_restore_messages(self) -> None:
        """Does so now and then only; what lay too long goes back however often it is called."""
        self._settle()
        now = monotonic()
        if now - self._kept_at < self._lease / 8:
            return
        self._kept_at = now
        for channel in list(self._channels):
            try:
                channel.qos.keep()
                if channel.active_queues:
                    channel.qos.restore_visible(num=channel.unacked_restore_limit)
            except channel.connection_errors:
                logger.debug("will try again to keep what is taken", exc_info=True)

    def get(self, callback: Any, timeout: float | None = None) -> Any:
        has_come = self._take_turns()
        # Who comes here has no event loop, whose timers would end the waiting, or has not begun it.
        longest = GIVE_BACK_AFTER if self.settles_soon else self._lease / 4
        self._is_drained = True
        try:
            return super().get(callback, 0 if has_come else min(timeout or longest, longest))
        except Empty:
            if not has_come:
                raise
        finally:
            self._is_drained = False

    def handle_event(self, fileno: int, event: int) -> Any:
        if self._bell is None or fileno != self._bell[0].fileno():
            return super().handle_event(fileno, event)
        self._hear()
        self._is_rung = False
        # Something happened: whoever waits here takes the next turn.
        return True

    def _take_turns(self) -> bool:
        if not self.serves_worker:
            return False
        # What lay here for too long may be another worker's by now.
        self._settle()
        channels = list(self._channels)
        have_come = [channel.fetch_more() for channel in channels]
        if channels and not any(channel.tells_later for channel in channels):
            # None has fetched and told of it in the same go, or soon will.
            channels[0].tell()
        return any(have_come)


class Transport(redis.Transport):
    """Kombu's own, with the channel above."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cycle = Poller()
