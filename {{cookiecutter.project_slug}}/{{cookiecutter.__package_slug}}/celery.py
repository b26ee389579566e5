"""The Celery application: how tasks are configured, found and run."""

import pkgutil
from pathlib import Path

from celery import Celery

#{% if cookiecutter.worker_pool == "prefork" and cookiecutter.broker != "rabbitmq" %}
from . import logs, stopping
#{% endif %}
#{% if cookiecutter.worker_pool == "threads" and cookiecutter.broker != "rabbitmq" %}
from . import logs
#{% endif %}
#{% if cookiecutter.worker_pool == "gevent" and cookiecutter.broker != "rabbitmq" %}
from . import gevent_pool, logs, stopping
#{% endif %}
#{% if cookiecutter.worker_pool == "prefork" and cookiecutter.broker == "rabbitmq" %}
from . import logs, rabbitmq, stopping
#{% endif %}
#{% if cookiecutter.worker_pool == "threads" and cookiecutter.broker == "rabbitmq" %}
from . import logs, rabbitmq
#{% endif %}
#{% if cookiecutter.worker_pool == "gevent" and cookiecutter.broker == "rabbitmq" %}
from . import gevent_pool, logs, rabbitmq, stopping
#{% endif %}
from .broker import QUEUES, TRANSPORT_OPTIONS
from .queues import ROUTES, Queue
from .schedule import SCHEDULE
from .settings import settings

TASKS = Path(__file__).parent / "tasks"

app = Celery(
    str(__package__),
    # Every module in tasks/ is found by itself.
    include=[f"{__package__}.tasks.{module.name}" for module in pkgutil.iter_modules([str(TASKS)])],
)
# Without this a thread of a web server would publish to Celery's own default, amqp://localhost.
app.set_default()

app.conf.update(
    broker_url=settings.celery_broker_url,
    result_backend=settings.celery_result_backend,
    # Pickle runs code of whoever can write to the broker.
    accept_content=["json"],
    # A queue with no worker would swallow its tasks: sending to one that is not here is an error.
    task_queues=QUEUES,
    task_create_missing_queues=False,
    task_default_queue=Queue.DEFAULT,
    task_routes=ROUTES,
    # Acknowledged after the run: a killed worker's tasks run again instead of being lost.
    task_acks_late=True,
    #{% if cookiecutter.worker_pool == "prefork" %}
    # The same for a killed pool process. Tasks must stand being run twice.
    task_reject_on_worker_lost=True,
    #{% endif %}
    #{% if cookiecutter.worker_pool != "gevent" %}
    # One task in hand for each that runs: more would wait behind a long one while others are idle.
    worker_prefetch_multiplier=1,
    #{% endif %}
    #{% if cookiecutter.worker_pool == "gevent" %}
    # With one task in hand for each that runs, the pool would wait for the next look at the broker.
    worker_prefetch_multiplier=2,
    #{% endif %}
    #{% if cookiecutter.worker_pool == "threads" %}
    # Celery's own would wait for its tasks without an end when the worker must stop.
    worker_pool=f"{__package__}.thread_pool:TaskPool",
    #{% endif %}
    worker_concurrency=settings.worker_concurrency,
    # A task without a limit of its own may not hold its place for ever.
    task_time_limit=settings.task_time_limit,
    #{% if cookiecutter.worker_pool == "prefork" %}
    # A pool process that leaks memory is replaced before it matters.
    worker_max_tasks_per_child=1000,
    # Lets `control pool_restart` replace the processes.
    worker_pool_restarts=True,
    #{% endif %}
    #{% if cookiecutter.result_backend != "none" %}
    # Results are read soon or never.
    result_expires=24 * 60 * 60,
    #{% endif %}
    # A worker that starts before its broker waits for it.
    broker_connection_retry_on_startup=True,
    # The default gives up after 100 tries and leaves a worker that does nothing.
    broker_connection_max_retries=None,
    broker_transport_options=TRANSPORT_OPTIONS,
    #{% if cookiecutter.broker == "sqs" %}
    # SQS has no way to tell all workers something.
    worker_enable_remote_control=False,
    #{% endif %}
    #{% if cookiecutter.result_backend == "redis" %}
    # The default keeps a caller waiting far longer when Redis is away. Seconds.
    result_backend_transport_options={"retry_policy": {"timeout": 5.0}},
    #{% endif %}
    # 5.7 warns unless this is decided: a task whose worker lost the broker would run twice at once.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    #{% if cookiecutter.include_flower %}
    # Flower sees only what workers tell it. Telling is extra work for every task.
    worker_send_task_events=True,
    #{% endif %}
    # Each gives signs of life, and a second beat waits instead of sending everything twice.
    worker_consumer=f"{__package__}.consumer:Consumer",
    beat_scheduler=f"{__package__}.beat:Scheduler",
    # Seconds; the default, five minutes, would let a beat that hangs look healthy for as long.
    beat_max_loop_interval=10,
    beat_schedule=SCHEDULE,
    # A beat that is killed must not fire again what it had fired.
    beat_sync_every=1,
)

logs.connect()
#{% if cookiecutter.worker_pool != "threads" %}
stopping.connect()
#{% endif %}
#{% if cookiecutter.broker == "rabbitmq" %}
rabbitmq.connect(app)
#{% endif %}
#{% if cookiecutter.worker_pool == "gevent" %}
gevent_pool.connect(app)
#{% endif %}
