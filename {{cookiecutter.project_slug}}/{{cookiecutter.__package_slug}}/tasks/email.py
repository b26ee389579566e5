"""Send e-mail in the background."""

import smtplib

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task

#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import email
from ..progress import publish

# The server is away, hung up, or asks for patience. Any other answer of it is final.
PASSING = (
    ConnectionError,
    TimeoutError,
    smtplib.SMTPServerDisconnected,
    smtplib.SMTPConnectError,
    email.Postponed,
)


@shared_task(
    name="email.send",
    soft_time_limit=30,
    time_limit=40,
    autoretry_for=PASSING,
    retry_backoff=True,
    retry_backoff_max=600,
    max_retries=8,
    # For each worker: what the mail server puts up with.
    rate_limit="100/s",
)
def send(to: str, subject: str, body: str) -> email.Receipt:
    """Send one e-mail; while the mail server is away, try again ever more slowly."""
    return email.send(to, subject, body)


# Not retried as a whole: half of the recipients would get the message twice. A worker that is
# killed half-way has that effect all the same; a task for each recipient would not.
@shared_task(name="email.send_bulk", soft_time_limit=540, time_limit=600)
def send_bulk(recipients: list[str], subject: str, body: str) -> email.BulkReceipt:
    """Send the same e-mail to many, and report each one."""
    return publish(email.send_bulk(recipients, subject, body))
