"""Amazon SQS as the broker: a worker claims what it gets, and gives it back as the same message."""

import logging
from queue import Empty
from typing import Any

from kombu.asynchronous.aws.ext import exceptions
from kombu.transport import SQS

from .dead_letters import DELIVERIES

# Seconds. A request for messages that a worker left open when it ended still takes some for up to
# ten seconds. Nobody claims those, so they are seen again after this instead of
# VISIBILITY_TIMEOUT. What a worker claims later than this may run twice.
UNCLAIMED = 10

logger = logging.getLogger(__name__)


class Channel(SQS.Channel):
    """Kombu's own gives back a copy, and the original comes back as well when its time is over."""

    _is_idle = True

    @property
    def wait_time_seconds(self) -> int:
        # Queues that are asked in turn would keep each other waiting: of many tasks in one, ten
        # would be taken every few seconds.
        return self._longest_wait if self._is_idle else 0

    @property
    def _longest_wait(self) -> int:
        seconds: int = super().wait_time_seconds
        return seconds

    def drain_events(self, *args: Any, **options: Any) -> None:
        has_room = self.qos.can_consume()
        try:
            super().drain_events(*args, **options)
        except Empty:
            self._is_idle = has_room
            raise
        self._is_idle = False

    def _receive_message(
        self,
        queue: str,
        max_number_of_messages: int = 1,
        wait_time_seconds: int | None = None,
    ) -> dict[str, Any]:
        attributes = {name: of for name, of in self.get_message_attributes.items() if of}
        received = self.sqs(queue=queue).receive_message(
            QueueUrl=self._url(queue),
            MaxNumberOfMessages=max_number_of_messages,
            WaitTimeSeconds=wait_time_seconds or self.wait_time_seconds,
            VisibilityTimeout=UNCLAIMED,
            **attributes,
        )
        messages = received.get("Messages")
        return {"Messages": self._claim(queue, messages) if messages else []}

    def _get_from_sqs(
        self, queue_name: str, queue_url: str, connection: Any, count: int = 1, callback: Any = None
    ) -> Any:
        return connection.receive_message(
            queue_name,
            queue_url,
            number_messages=count,
            visibility_timeout=UNCLAIMED,
            wait_time_seconds=self.wait_time_seconds,
            callback=callback,
        )

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        # An empty list says that SQS could not be reached, and would end the worker.
        found = messages.get("Messages") if messages else None
        # Without a consumer Kombu lets go of what comes.
        if found and qname in self.connection._callbacks:  # type: ignore[operator]
            found = self._claim(qname, found)
        return super()._on_messages_ready(queue, qname, {"Messages": found})  # type: ignore[misc]

    def _claim(self, queue: str, messages: list[Any]) -> list[Any]:
        """Those of the messages that are this worker's for `VISIBILITY_TIMEOUT` from now on."""
        entries = [
            {
                "Id": str(number),
                "ReceiptHandle": message["ReceiptHandle"],
                "VisibilityTimeout": self.visibility_timeout,
            }
            for number, message in enumerate(messages)
        ]
        try:
            answer = self.sqs(queue=queue).change_message_visibility_batch(
                QueueUrl=self._url(queue), Entries=entries
            )
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            logger.warning("%s messages of %s were not claimed: %s", len(messages), queue, error)
            return []
        return [messages[int(claimed["Id"])] for claimed in answer.get("Successful", [])]

    def _url(self, queue: str) -> str:
        url: str = self.predefined_queues[queue]["url"]
        return url

    def _restore(self, message: Any, *_: Any, **options: Any) -> None:
        # At the end of a worker, whose last request for messages is still open and takes some.
        self._show_again(message, after=self._longest_wait + 1)

    def _restore_at_beginning(self, message: Any) -> None:
        self._show_again(message, after=0)

    def _show_again(self, message: Any, after: int) -> None:
        self.sqs(queue=message.delivery_info["routing_key"]).change_message_visibility(
            QueueUrl=message.delivery_info["sqs_queue"],
            ReceiptHandle=message.delivery_tag,
            VisibilityTimeout=after,
        )

    def _envelope_payload(
        self, payload: dict[str, Any], raw_text: str, message: dict[str, Any], q_url: str
    ) -> Any:
        envelope: Any = super()._envelope_payload  # type: ignore[misc]
        try:
            enveloped = envelope(payload, raw_text, message, q_url)
            self.Message(enveloped, channel=self)
        except Exception:
            # A worker would end here. With a text it finds out for itself that it is no task.
            enveloped = envelope({}, raw_text, message, q_url)
        (queue,) = [name for name, of in self.predefined_queues.items() if of["url"] == q_url]
        enveloped["properties"]["delivery_info"].setdefault("routing_key", queue)
        # This delivery is counted, too.
        earlier = int(message["Attributes"]["ApproximateReceiveCount"]) - 1
        enveloped["headers"] = (enveloped.get("headers") or {}) | {DELIVERIES: earlier}
        return enveloped


class Transport(SQS.Transport):
    """What Kombu finds under the name sqs."""

    Channel = Channel
