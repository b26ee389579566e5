"""The Celery application: how tasks are configured, found and run."""

import pkgutil
from pathlib import Path

#{% if cookiecutter.__worker_pool == "prefork" and cookiecutter.__broker != "rabbitmq" %}
from . import logs, prefork_pool, stopping, telemetry
#{% endif %}
#{% if cookiecutter.__worker_pool == "threads" and cookiecutter.__broker != "rabbitmq" %}
from . import logs, telemetry
#{% endif %}
#{% if cookiecutter.__worker_pool == "gevent" and cookiecutter.__broker != "rabbitmq" %}
from . import gevent_pool, logs, stopping, telemetry
#{% endif %}
#{% if cookiecutter.__worker_pool == "prefork" and cookiecutter.__broker == "rabbitmq" %}
from . import logs, prefork_pool, rabbitmq, stopping, telemetry
#{% endif %}
#{% if cookiecutter.__worker_pool == "threads" and cookiecutter.__broker == "rabbitmq" %}
from . import logs, rabbitmq, telemetry
#{% endif %}
#{% if cookiecutter.__worker_pool == "gevent" and cookiecutter.__broker == "rabbitmq" %}
from . import gevent_pool, logs, rabbitmq, stopping, telemetry
#{% endif %}
from .broker import QUEUES, TRANSPORT_OPTIONS
from .queues import ROUTES, Queue
from .schedule import SCHEDULE
from .sending import Application
from .settings import settings
#{% if cookiecutter.include_metrics %}
from .task_metrics import count_tasks
#{% endif %}

TASKS = Path(__file__).parent / "tasks"

app = Application(
    str(__package__),
    # Every module in tasks/ is found by itself.
    include=[f"{__package__}.tasks.{module.name}" for module in pkgutil.iter_modules([str(TASKS)])],
)
#{% if cookiecutter.include_sqlalchemy %}
# Workers import it with the tasks. Without it the outbox would send for ever what is done.
app.conf.include.append(f"{__package__}.outbox_worker")
#{% endif %}
#{% if cookiecutter.__worker_pool != "gevent" %}
# A name, so that programs which only send tasks do not import the worker.
app.Task.Request = f"{__package__}.request:Request"
#{% endif %}
# Without this a thread of a web server would publish to Celery's own default, amqp://localhost.
app.set_default()
#{% if cookiecutter.__result_backend == "redis" %}
# The default needs the Redis of the results to send a task, and keeps a sender waiting for it.
app.loader.override_backends = dict.fromkeys(
    ("redis", "rediss"), f"{__package__}.redis_results:Backend"
)
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" %}
# The default makes a connection for each result, and who waits for one looks now and then.
app.loader.override_backends = {"db": f"{__package__}.postgres_results:backend"}
#{% endif %}

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
    # What failed for good is rejected, and buried for it: see request.py.
    task_acks_on_failure=False,
    #{% if cookiecutter.__worker_pool == "prefork" %}
    # The same for a killed pool process. Tasks must stand being run twice.
    task_reject_on_worker_lost=True,
    #{% endif %}
    #{% if cookiecutter.__worker_pool != "gevent" %}
    # One task in hand for each that runs: more would wait behind a long one while others are idle.
    worker_prefetch_multiplier=1,
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "gevent" and cookiecutter.__broker != "redis" %}
    # With one task in hand for each that runs, the pool would wait for the next look at the broker.
    worker_prefetch_multiplier=2,
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "gevent" and cookiecutter.__broker == "redis" %}
    # One task in hand for each that runs: more would wait behind a long one while others are idle.
    # With Kombu's own transport the pool would wait for the next look at Redis.
    worker_prefetch_multiplier=1 if settings.reliable_fetch else 2,
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "gevent" %}
    # By default each task makes a client of the results for itself, which costs more than its run.
    result_backend_thread_safe=True,
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "threads" %}
    # Celery's own would wait for its tasks without an end when the worker must stop.
    worker_pool=f"{__package__}.thread_pool:TaskPool",
    #{% endif %}
    worker_concurrency=settings.worker_concurrency,
    # A task without a limit of its own may not hold its place for ever.
    task_time_limit=settings.task_time_limit,
    #{% if cookiecutter.__worker_pool == "prefork" %}
    # A pool process that leaks memory is replaced before it matters.
    worker_max_tasks_per_child=1000,
    # Lets `control pool_restart` replace the processes.
    worker_pool_restarts=True,
    #{% endif %}
    #{% if cookiecutter.__result_backend != "none" %}
    # Results are read soon or never.
    result_expires=24 * 60 * 60,
    #{% endif %}
    # A worker that starts before its broker waits for it.
    broker_connection_retry_on_startup=True,
    #{% if cookiecutter.__broker == "rabbitmq" and cookiecutter.__worker_pool != "gevent" %}
    # Seconds. A broker that is gone without a word is missed after twice as many; the default takes
    # minutes.
    broker_heartbeat=10,
    #{% endif %}
    #{% if cookiecutter.__broker == "rabbitmq" and cookiecutter.__worker_pool == "gevent" %}
    # Seconds. A broker that is gone without a word is missed after twice as many. So is a worker in
    # which one task computes for as long.
    broker_heartbeat=30,
    #{% endif %}
    #{% if cookiecutter.__broker == "rabbitmq" %}
    # Without a name any certificate would do that an authority has given to anybody. None stands
    # for the name in the URL.
    broker_use_ssl=settings.celery_broker_url.startswith("amqps") and {"server_hostname": None},
    # A connection that died unnoticed keeps its exclusive queues locked, and a worker that comes
    # back would end for that.
    control_queue_exclusive=False,
    control_queue_durable=True,
    #{% endif %}
    # The default gives up after 100 tries and leaves a worker that does nothing.
    broker_connection_max_retries=None,
    #{% if cookiecutter.__broker == "redis" %}
    # By default a worker ends when it meets a Redis whose memory is full.
    broker_channel_error_retry=True,
    #{% endif %}
    broker_transport_options=TRANSPORT_OPTIONS,
    # sending.py tries again; with both, a caller would wait several times as long.
    task_publish_retry_policy={"max_retries": 0},
    #{% if cookiecutter.__broker == "sqs" %}
    # SQS has no way to tell all workers something.
    worker_enable_remote_control=False,
    #{% endif %}
    #{% if cookiecutter.__result_backend == "redis" %}
    # The default keeps a caller waiting far longer when Redis is away. Seconds.
    result_backend_transport_options={"retry_policy": {"timeout": 5.0}},
    redis_socket_timeout=5.0,
    redis_socket_connect_timeout=5.0,
    # Without tries, for about half a minute, a Redis that restarts loses the results of what ran.
    # More would hold up the worker's main process for too long, which writes some results, too.
    result_backend_always_retry=True,
    result_backend_max_retries=20,
    # With longer pauses, ten seconds by default, processes wait when the Redis is there again.
    result_backend_max_sleep_between_retries_ms=4000,
    #{% endif %}
    # 5.7 warns unless this is decided: a task whose worker lost the broker would run twice at once.
    worker_cancel_long_running_tasks_on_connection_loss=True,
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
telemetry.start()
#{% if cookiecutter.__worker_pool != "threads" %}
stopping.connect()
#{% endif %}
#{% if cookiecutter.__broker == "rabbitmq" %}
rabbitmq.connect(app)
#{% endif %}
#{% if cookiecutter.__worker_pool == "prefork" %}
prefork_pool.connect()
#{% endif %}
#{% if cookiecutter.__worker_pool == "gevent" %}
gevent_pool.connect(app)
#{% endif %}
#{% if cookiecutter.include_metrics %}
# Counts what those before do with a task.
count_tasks(app)
#{% endif %}
