"""The engine: jobs in a file of this host, run by the processes of Gunicorn's dirty arbiter."""

from .task import shared_task

__all__ = ["shared_task"]
