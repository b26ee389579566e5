"""How Alembic reaches the database: with the service's own engine and models."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from {{ cookiecutter.__package_slug }}.database import engine
from {{ cookiecutter.__package_slug }}.models import Base


def migrate(connection: Connection) -> None:
    #{% if cookiecutter.__result_backend != "postgres" %}
    # SQLite cannot alter a column in place; batches copy the table instead.
    context.configure(connection, target_metadata=Base.metadata, render_as_batch=True)
    #{% endif %}
    #{% if cookiecutter.__result_backend == "postgres" %}
    context.configure(
        connection,
        target_metadata=Base.metadata,
        # Celery makes its tables for results itself; Alembic would drop what it does not know.
        include_name=lambda name, kind, _: kind != "table" or not str(name).startswith("celery_"),
        # SQLite cannot alter a column in place; batches copy the table instead.
        render_as_batch=True,
    )
    #{% endif %}
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    async with engine().connect() as connection:
        await connection.run_sync(migrate)
    await engine().dispose()


asyncio.run(main())
