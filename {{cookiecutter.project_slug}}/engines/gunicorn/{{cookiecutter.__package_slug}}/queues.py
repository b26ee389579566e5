"""The queues, which task waits in which, and how many processes serve each."""

from enum import StrEnum


class Queue(StrEnum):
    """Kinds of work that must not wait for each other."""

    DEFAULT = "default"
    #{% if cookiecutter.include_examples %}
    EMAIL = "email"
    IMAGES = "images"
    DATA = "data"
    SCHEDULED = "scheduled"
    #{% endif %}


# Each process runs one job at a time.
#{% if not cookiecutter.include_examples %}
PROCESSES = {Queue.DEFAULT: 4}
#{% endif %}
#{% if cookiecutter.include_examples %}
PROCESSES = {
    Queue.DEFAULT: 1,
    Queue.EMAIL: 2,
    Queue.IMAGES: 2,
    Queue.DATA: 4,
    Queue.SCHEDULED: 1,
}
#{% endif %}

# Name or pattern of tasks -> where they wait.
ROUTES = {
    "hello.*": Queue.DEFAULT,
    #{% if cookiecutter.include_sqlalchemy %}
    "orders.*": Queue.DEFAULT,
    #{% endif %}
    #{% if cookiecutter.include_aiocache %}
    "pages.*": Queue.DEFAULT,
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    "email.*": Queue.EMAIL,
    "etl.*": Queue.DATA,
    "images.*": Queue.IMAGES,
    "reports.*": Queue.SCHEDULED,
    "training.*": Queue.DATA,
    #{% endif %}
    #{% if cookiecutter.include_sqlalchemy and cookiecutter.include_examples %}
    "order_import.*": Queue.DATA,
    #{% endif %}
}
