"""Amazon SQS as the broker: what is given back is the same message, which SQS goes on counting."""

from queue import Empty
from typing import Any

from kombu.transport import SQS

from .dead_letters import DELIVERIES


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

    def _restore(self, message: Any, *_: Any, **options: Any) -> None:
        # At the end of a worker, whose last request for messages is still open and takes some.
        self._show_again(message, after=self._longest_wait + 1)

    def _restore_at_beginning(self, message: Any) -> None:
        self._show_again(message, after=0)

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        # An empty list says that SQS could not be reached, and would end the worker.
        return super()._on_messages_ready(queue, qname, messages or {})  # type: ignore[misc]

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
