"""The application: its routes, who may use them, and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles

#{% if cookiecutter.task_engine == "celery" %}
from ..celery import app as celery
#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty.jobs import tasks
#{% endif %}
from ..settings import settings
#{% if cookiecutter.__result_backend != "none" and cookiecutter.__broker != "sqs" %}
from . import cancel, events, guard, jobs, probes, problems, service, submit
#{% endif %}
#{% if cookiecutter.__result_backend != "none" and cookiecutter.__broker == "sqs" %}
from . import events, guard, jobs, probes, problems, service, submit
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from . import guard, probes, problems, service, submit
#{% endif %}
#{% if cookiecutter.__result_backend == "file" %}
from .board_store import BoardStore as ResultStore
#{% endif %}
from .correlated import Correlated
#{% if cookiecutter.__result_backend == "postgres" %}
from .database_store import DatabaseStore as ResultStore
#{% endif %}
from .look import Look
#{% if cookiecutter.include_metrics %}
from .measured import Measured
#{% endif %}
#{% if cookiecutter.include_metrics and cookiecutter.task_engine == "gunicorn" %}
from .metrics_port import MetricsPort
#{% endif %}
from .offered import offers
from .publisher import Publisher, reach
#{% if cookiecutter.__result_backend == "redis" %}
from .redis_store import RedisStore as ResultStore
#{% endif %}
#{% if cookiecutter.__result_backend != "none" %}
from .store import Store
#{% endif %}

PAGE = Path(__file__).parent / "page"


def create_app() -> FastAPI:
    """Serves the tasks that are there at this moment."""
    app = FastAPI(
        title="{{ cookiecutter.project_slug }}",
        summary="Submit jobs, and watch them.",
        lifespan=_lifespan,
        # Their pages load programs from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.publisher = Publisher()
    app.state.reached = Look(app.state.publisher, reach, probes.FRESH)
    app.state.overview = Look(app.state.publisher, service.overview, service.FRESH)
    problems.connect(app)

    #{% if cookiecutter.task_engine == "celery" %}
    celery.loader.import_default_modules()
    offered = offers({name: task.run for name, task in celery.tasks.items()})
    #{% endif %}
    #{% if cookiecutter.task_engine == "gunicorn" %}
    offered = offers({name: task.run for name, task in tasks().items()})
    #{% endif %}
    # Not by routers of their own, for which FastAPI would build each of these routes again.
    submit.add_routes(app, offered)
    #{% if cookiecutter.__result_backend != "none" %}
    jobs.add_stats(app, offered)
    app.include_router(jobs.routes)
    app.include_router(events.routes)
    #{% endif %}
    #{% if cookiecutter.__result_backend != "none" and cookiecutter.__broker != "sqs" %}
    app.include_router(cancel.routes)
    #{% endif %}
    app.include_router(service.routes)
    app.include_router(probes.routes)
    app.mount("/", StaticFiles(directory=PAGE, html=True))

    # The last one sees a request first.
    app.add_middleware(guard.BodyLimit, most=settings.api_max_body)
    app.add_middleware(guard.Guard, keys=settings.api_keys, rate=settings.api_rate_limit)
    if settings.api_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key", "X-Request-ID", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(guard.SecurityHeaders)
    app.add_middleware(Correlated)
    #{% if cookiecutter.include_metrics %}
    if settings.metrics_port is not None:
        app.add_middleware(Measured)
    #{% endif %}
    #{% if cookiecutter.include_metrics and cookiecutter.task_engine == "gunicorn" %}
        app.add_middleware(MetricsPort)
    #{% endif %}
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    #{% if cookiecutter.__result_backend != "none" %}
    store: Store = ResultStore()
    await store.start()
    app.state.store = store
    #{% endif %}
    try:
        yield
    finally:
        app.state.publisher.close()
        #{% if cookiecutter.__result_backend != "none" %}
        await store.close()
        #{% endif %}
