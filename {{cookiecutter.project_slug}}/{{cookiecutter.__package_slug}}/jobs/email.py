"""Send e-mail, one message or many, over SMTP."""

import smtplib
import ssl
from collections.abc import Generator, Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from typing import TypedDict
from urllib.parse import unquote, urlsplit

from ..settings import settings
from . import Progress

# Seconds to wait for the mail server, for each step of the conversation.
TIMEOUT = 10


class Postponed(Exception):
    """The mail server does not take the message now."""


class Receipt(TypedDict):
    to: str
    message_id: str


class BulkReceipt(TypedDict):
    sent: list[str]
    # Address -> what the mail server said.
    refused: dict[str, str]


def send(to: str, subject: str, body: str) -> Receipt:
    """Send one message.

    Raises:
        Postponed: when the server wants to be asked again later.
        smtplib.SMTPRecipientsRefused: when the server does not take this address.
    """
    message = _message(to, subject, body)
    with _connected() as server:
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as refusal:
            # A status of four hundred and some is not final; servers greet strangers with one.
            if _reason(refusal).startswith("4"):
                raise Postponed(_reason(refusal)) from refusal
            raise
    return {"to": to, "message_id": message["Message-ID"]}


def send_bulk(
    recipients: Sequence[str], subject: str, body: str
) -> Generator[Progress, None, BulkReceipt]:
    """Send each recipient a message of their own; a refused address does not stop the rest."""
    receipt: BulkReceipt = {"sent": [], "refused": {}}
    with _connected() as server:
        for done, to in enumerate(recipients, start=1):
            try:
                server.send_message(_message(to, subject, body))
                receipt["sent"].append(to)
            except smtplib.SMTPRecipientsRefused as refusal:
                receipt["refused"][to] = _reason(refusal)
            yield Progress(done, len(recipients), to)
    return receipt


def _reason(refusal: smtplib.SMTPRecipientsRefused) -> str:
    ((code, text),) = refusal.recipients.values()
    return f"{code} {text.decode(errors='replace')}"


def _message(to: str, subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = settings.email_from
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = make_msgid(domain=settings.email_from.partition("@")[2])
    message.set_content(body)
    return message


def _connected() -> smtplib.SMTP:
    url = urlsplit(settings.smtp_url)
    host = url.hostname or "localhost"
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, url.port or 465, timeout=TIMEOUT, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT)
    if url.username:
        # A password never travels in the clear.
        if url.scheme == "smtp":
            server.starttls(context=ssl.create_default_context())
        server.login(unquote(url.username), unquote(url.password or ""))
    return server
