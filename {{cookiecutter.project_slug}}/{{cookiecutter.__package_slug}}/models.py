"""The tables."""

from datetime import UTC, datetime
#{% if cookiecutter.task_engine == "celery" %}
from typing import Any

from sqlalchemy import JSON, DateTime, String, Text
#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}

from sqlalchemy import DateTime, String
#{% endif %}
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    """Something that was bought. The reference comes from outside and names the order for ever."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    customer: Mapped[str] = mapped_column(String(320))
    cents: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )
#{% if cookiecutter.task_engine == "celery" %}


class Accepted(Base):
    """A task that was accepted and is not done yet: see outbox.py."""

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    task: Mapped[str] = mapped_column(String(255))
    args: Mapped[list[Any]] = mapped_column(JSON)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    accepted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # When it is sent next. Not at all, while it is among the dead letters.
    send_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), index=True)
    sent: Mapped[int] = mapped_column(default=0)
    # Why it is among the dead letters.
    error: Mapped[str | None] = mapped_column(Text)
#{% endif %}
#{% if cookiecutter.task_engine == "celery" and "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] %}


class Lease(Base):
    """What somebody has for a time: a lock, or what a task that runs once has returned."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(32))
    value: Mapped[str | None] = mapped_column(Text)
    # Seconds since 1970 by the database's clock.
    expires_at: Mapped[float] = mapped_column(index=True)
#{% endif %}
