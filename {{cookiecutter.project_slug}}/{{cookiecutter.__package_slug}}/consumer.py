"""The part of a worker that talks to the broker, and tells that it does."""

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from . import health

# Seconds between two signs of life.
SIGN_EVERY = 1.0


class Consumer(CeleryConsumer):
    """Celery's own, with signs of life on its own timer: they stop when it hangs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.timer.call_repeatedly(SIGN_EVERY, self._sign)

    def ensure_connected(self, connection: Any) -> Any:
        health.sign_while_connecting(connection)
        return super().ensure_connected(connection)

    def _sign(self) -> None:
        health.sign(health.ALIVE)
        if self.connection is not None:
            health.sign(health.READY)
