"""Signs of life that cost nothing: files, whose age tells how a worker or beat is."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .settings import settings

# It does get round to something. One that shows an old file should be started again.
ALIVE = "alive"
# It is connected to the broker and works. One that shows an old file may be looking for its broker.
READY = "ready"
# Seconds between two looks for a broker that is away. Kombu's grow to half a minute, for which
# tasks would wait when it is back.
TRY_EVERY = 3.0


def sign(name: str) -> None:
    """Renew a file in HEALTH_DIR, if anybody looks there."""
    if settings.health_dir is not None:
        # A full disk must not stop the work. The file's age shows it.
        with suppress(OSError):
            (settings.health_dir / name).touch()


def sign_while_connecting(connection: Any) -> None:
    """To wait for the broker is no reason to be started again. It is looked for again and again."""
    ensure: Callable[..., Any] = connection.ensure_connection

    def signing(*args: Any, callback: Callable[[], Any] | None = None, **options: Any) -> Any:
        def between_tries() -> None:
            sign(ALIVE)
            if callback is not None:
                callback()

        interval = {"interval_start": TRY_EVERY, "interval_step": 0}
        return ensure(*args, callback=between_tries, **interval | options)

    connection.ensure_connection = signing
