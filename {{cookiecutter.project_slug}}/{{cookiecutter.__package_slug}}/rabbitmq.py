"""What Celery does not do by itself on RabbitMQ with quorum queues and publisher confirms."""

from celery import Celery


def connect(app: Celery) -> None:
    """Have workers send events without waiting, and declare every queue before they start.

    Both are named only, so that programs which only send tasks do not import the worker.
    """
    app.events_cls = f"{__package__}.rabbitmq_worker:UnconfirmedEvents"
    app.steps["consumer"].add(f"{__package__}.rabbitmq_worker:DeclareQueues")
