"""E-mail reaches a real SMTP server, whose refusals and absence are survived."""

import asyncio
from collections.abc import Iterator
from email.message import Message

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, Envelope, Session

from {{ cookiecutter.__package_slug }}.jobs import Progress, email
from {{ cookiecutter.__package_slug }}.settings import Settings
from {{ cookiecutter.__package_slug }}.tasks.email import send, send_bulk


class Inbox(MessageHandler):
    """Keeps what arrives, but takes nothing for example.invalid, and strangers only in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.known: set[str] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.endswith("@example.invalid"):
            return "550 nobody of that name"
        if address.endswith("@greylist.example") and address not in self.known:
            self.known.add(address)
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


class AnyPort(Controller):
    """Listens on whatever port is free."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    inbox = Inbox()
    server = AnyPort(inbox, hostname="127.0.0.1", port=0)
    server.start()
    settings = Settings(_env_file=None, smtp_url=f"smtp://127.0.0.1:{server.port}")
    monkeypatch.setattr(email, "settings", settings)
    yield inbox
    server.stop()


def test_one_message_arrives_as_it_was_written(inbox: Inbox) -> None:
    receipt = email.send("ada@example.com", "Grüße", "Hello ☀")

    (message,) = inbox.messages
    assert message["To"] == "ada@example.com"
    assert message["Message-ID"] == receipt["message_id"]
    assert message.get_payload(decode=True) == "Hello ☀\r\n".encode()


def test_a_line_break_in_a_subject_cannot_add_a_header(inbox: Inbox) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        email.send("ada@example.com", "Hi\nBcc: everybody@example.com", "")

    assert inbox.messages == []


def test_bulk_reports_each_recipient_and_goes_on_after_a_refusal(inbox: Inbox) -> None:
    recipients = ["ada@example.com", "No Body <nobody@example.invalid>", "grace@example.com"]
    steps = email.send_bulk(recipients, "Hi", "Hello")

    assert [next(steps) for _ in recipients] == [
        Progress(done, 3, to) for done, to in enumerate(recipients, start=1)
    ]
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == {
        "sent": ["ada@example.com", "grace@example.com"],
        "refused": {"No Body <nobody@example.invalid>": "550 nobody of that name"},
    }


@pytest.mark.usefixtures("worker")
def test_worker_sends_to_many(inbox: Inbox) -> None:
    result = send_bulk.delay(["ada@example.com", "grace@example.com"], "Hi", "Hello")

    assert result.get(timeout=10, interval=0.01)["refused"] == {}
    assert [message["To"] for message in inbox.messages] == ["ada@example.com", "grace@example.com"]


@pytest.mark.usefixtures("worker", "no_pause")
def test_a_server_that_is_away_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, inbox: Inbox
) -> None:
    connect = email._connected
    attempts: list[int] = []

    def away_at_first() -> object:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionRefusedError
        return connect()

    monkeypatch.setattr(email, "_connected", away_at_first)
    result = send.delay("ada@example.com", "Hi", "Hello")

    assert result.get(timeout=10, interval=0.01)["to"] == "ada@example.com"
    assert len(attempts) == 2


@pytest.mark.usefixtures("worker", "no_pause")
def test_a_server_that_wants_to_be_asked_again_is(inbox: Inbox) -> None:
    send.delay("ada@greylist.example", "Hi", "Hello").get(timeout=10, interval=0.01)

    assert [message["To"] for message in inbox.messages] == ["ada@greylist.example"]
