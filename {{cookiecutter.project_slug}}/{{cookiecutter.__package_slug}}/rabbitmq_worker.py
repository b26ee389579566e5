"""Parts of a worker on RabbitMQ: events that wait for nothing, queues that are there in time."""

from typing import Any

from celery import bootsteps
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from celery.worker.consumer.connection import Connection
from celery.worker.consumer.delayed_delivery import DelayedDelivery


class UnconfirmedDispatcher(EventDispatcher):
    """Sends events without having them confirmed: a lost one harms nobody.

    Where one thread does all the work, the wait for a confirmation can last for ever.
    """

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        *args: Any,
        **options: Any,
    ) -> None:
        # Without a channel it is a connection for events alone. Celery keeps up the heartbeats of
        # this one, so a copy of it would be closed for being silent.
        if connection is not None and channel is None:
            connection.collect()
            unconfirmed = {**connection.transport_options, "confirm_publish": False}
            connection.transport_options = unconfirmed
            # A broker that is gone would be waited for to take leave.
            connection.close = connection.collect
            # Without an event loop Celery looks for heartbeats here after each message, and waits a
            # tenth of a second for one: such a worker would take no more than ten tasks a second.
            drain = connection.drain_events
            connection.drain_events = lambda **_: drain(timeout=0)
        super().__init__(connection, hostname, enabled, channel, *args, **options)


class UnconfirmedEvents(Events):
    """What the application makes its dispatchers with."""

    dispatcher_cls = f"{__name__}:{UnconfirmedDispatcher.__name__}"


class DeclareQueues(bootsteps.StartStopStep):
    """Declares the queues that this worker does not serve, too.

    A delayed task for a queue that nobody has declared yet would be dropped without a word.
    """

    requires = (Connection,)

    def start(self, parent: Any) -> None:
        with parent.connection.channel() as channel:
            for queue in parent.app.amqp.queues.values():
                queue(channel).declare()


# It binds all queues, so they must be there.
DelayedDelivery.requires += (DeclareQueues,)  # type: ignore[operator]
