"""The queues, which task waits in which, and how many processes serve each."""

from enum import StrEnum


class Queue(StrEnum):
    """Kinds of work that must not wait for each other."""

    DEFAULT = "default"
    EMAIL = "email"
    IMAGES = "images"
    DATA = "data"
    SCHEDULED = "scheduled"


PROCESSES = {
    Queue.DEFAULT: 1,
    Queue.EMAIL: 2,
    Queue.IMAGES: 2,
    Queue.DATA: 4,
    Queue.SCHEDULED: 1,
}

# Name or pattern of tasks -> where they wait.
ROUTES = {
    "hello.*": Queue.DEFAULT,
    "orders.*": Queue.DEFAULT,
    "pages.*": Queue.DATA,
    "email.*": Queue.EMAIL,
    "etl.*": Queue.DATA,
    "images.*": Queue.IMAGES,
    "reports.*": Queue.SCHEDULED,
    "training.*": Queue.DATA,
    "order_import.*": Queue.DATA,
}
