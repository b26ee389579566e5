"""The application: its routes, who may use them, and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles

from ..celery import app as celery
from ..settings import settings
#{% if cookiecutter.result_backend != "none" %}
from . import events, guard, jobs, probes, problems, service, submit
#{% endif %}
#{% if cookiecutter.result_backend == "none" %}
from . import guard, probes, problems, service, submit
#{% endif %}
#{% if cookiecutter.result_backend == "postgres" %}
from .database_store import DatabaseStore as ResultStore
#{% endif %}
from .offered import offers
from .publisher import Look, Publisher
#{% if cookiecutter.result_backend == "redis" %}
from .redis_store import RedisStore as ResultStore
#{% endif %}
#{% if cookiecutter.result_backend != "none" %}
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
    app.state.broker = Look(app.state.publisher, probes.reach_broker, probes.FRESH)
    app.state.overview = Look(app.state.publisher, service.overview, service.FRESH)
    problems.connect(app)

    offered = offers(celery)
    # Not by routers of their own, for which FastAPI would build each of these routes again.
    submit.add_routes(app, offered)
    #{% if cookiecutter.result_backend != "none" %}
    jobs.add_stats(app, offered)
    app.include_router(jobs.routes)
    app.include_router(events.routes)
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
            allow_headers=["X-API-Key", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After"],
        )
    app.add_middleware(guard.SecurityHeaders)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    #{% if cookiecutter.result_backend != "none" %}
    store: Store = ResultStore()
    await store.start()
    app.state.store = store
    #{% endif %}
    try:
        yield
    finally:
        app.state.publisher.close()
        #{% if cookiecutter.result_backend != "none" %}
        await store.close()
        #{% endif %}
