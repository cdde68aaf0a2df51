"""E-mails over SMTP: TLS, logins, refusals and servers that hang, with real servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import psutil
import pytest
import trustme
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from actors.notify import email_sender
from actors.notify.email_sender import Mailer
from tests.support.servers.smtp_server import SmtpServer

HOST = "localhost"
LOGIN = LoginPassword(b"ana@example.com", b"p@ss/word")
CREDENTIALS = "ana%40example.com:p%40ss%2Fword"

StartServer = Callable[..., "Mailbox"]


class Mailbox:
    """What a server received, over which kind of connection, with which logins."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[EmailMessage] = []
        self.over_tls: list[bool] = []
        self.logins: list[LoginPassword] = []

    async def handle_RCPT(
        self, _server: object, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("unknown@"):
            return "550 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.over_tls.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _server: object, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        self.logins.append(data)
        return AuthResult(success=data == LOGIN, handled=False)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """The only certificate authority that clients trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    return authority


def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    return context


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """A function that starts a server, with the options of aiosmtpd's Controller."""
    with ExitStack() as stack:

        def start(**options: Any) -> Mailbox:
            mailbox = Mailbox()
            server = SmtpServer(mailbox, authenticator=mailbox.authenticate, **options)
            mailbox.port = server.port
            server.start()
            stack.callback(server.stop)
            return mailbox

        yield start


def message_to(address: str, subject: str = "Your frames are ready") -> EmailMessage:
    message = EmailMessage()
    message["From"] = Address("Fotógrafo", addr_spec="fotograma@example.com")
    message["To"] = Address(addr_spec=address)
    message["Subject"] = subject
    message.set_content("São 12 quadros.\n", cte="quoted-printable")
    return message


async def test_starttls_is_used_when_the_server_offers_it(authority: trustme.CA, start_server: StartServer) -> None:
    mailbox = start_server(tls_context=tls_context(authority))
    await Mailer(f"smtp://{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert connections_to(mailbox) == []
    assert mailbox.over_tls == [True]


async def test_password_is_sent_only_after_starttls(authority: trustme.CA, start_server: StartServer) -> None:
    mailbox = start_server(tls_context=tls_context(authority), auth_required=True)
    await Mailer(f"smtp://{CREDENTIALS}@{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert mailbox.logins == [LOGIN]
    assert mailbox.over_tls == [True]


async def test_certificate_of_an_unknown_authority_is_refused_before_the_password(
    authority: trustme.CA, start_server: StartServer
) -> None:
    mailbox = start_server(tls_context=tls_context(trustme.CA()))
    with pytest.raises((OSError, aiosmtplib.SMTPException), match="certificate"):
        await Mailer(f"smtp://{CREDENTIALS}@{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert mailbox.logins == []
    assert mailbox.messages == []


async def test_smtps_uses_tls_from_the_start(authority: trustme.CA, start_server: StartServer) -> None:
    mailbox = start_server(ssl_context=tls_context(authority), auth_require_tls=False)
    await Mailer(f"smtps://{CREDENTIALS}@{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert mailbox.logins == [LOGIN]
    assert len(mailbox.messages) == 1


async def test_server_without_tls_gets_the_mail_unencrypted(start_server: StartServer) -> None:
    mailbox = start_server()
    await Mailer(f"smtp://{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert mailbox.over_tls == [False]


def connections_to(mailbox: Mailbox) -> list[Any]:
    return [found for found in psutil.Process().net_connections() if found.raddr and found.raddr.port == mailbox.port]


async def test_wrong_password_is_refused_and_the_connection_is_closed_at_once(
    authority: trustme.CA, start_server: StartServer
) -> None:
    mailbox = start_server(tls_context=tls_context(authority))
    with pytest.raises(aiosmtplib.SMTPAuthenticationError, match="535"):
        await Mailer(f"smtp://ana%40example.com:wrong@{HOST}:{mailbox.port}").send(message_to("bob@example.com"))
    assert connections_to(mailbox) == []
    assert mailbox.messages == []


async def test_refused_recipient_is_an_error_with_the_servers_answer(start_server: StartServer) -> None:
    mailbox = start_server()
    with pytest.raises(aiosmtplib.SMTPException, match="No such user"):
        await Mailer(f"smtp://{HOST}:{mailbox.port}").send(message_to("unknown@example.com"))
    assert mailbox.messages == []


async def test_non_ascii_text_arrives_unchanged(start_server: StartServer) -> None:
    mailbox = start_server()
    await Mailer(f"smtp://{HOST}:{mailbox.port}").send(message_to("bob@example.com", "Férias – 夏.mp4"))
    (message,) = mailbox.messages
    assert message["subject"] == "Férias – 夏.mp4"
    assert message["from"] == "Fotógrafo <fotograma@example.com>"
    assert message.get_content().replace("\r\n", "\n") == "São 12 quadros.\n"


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]],
) -> AsyncIterator[int]:
    """Runs a server that handles one connection with `answer`; yields its port."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()
        ended.set()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await ended.wait()


@pytest.mark.parametrize("greeting", [b"", b"220 mail.example.com\r\n"], ids=["silent", "silent after its greeting"])
async def test_server_that_hangs_ends_in_a_timeout(monkeypatch: pytest.MonkeyPatch, greeting: bytes) -> None:
    monkeypatch.setattr(email_sender, "TIMEOUT_SECONDS", 0.2)

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()

    async with raw_server(stay_silent) as port:
        with pytest.raises(OSError, match=r"did not accept the e-mail in 0\.2 s"):
            await Mailer(f"smtp://127.0.0.1:{port}").send(message_to("bob@example.com"))


async def test_server_whose_answer_never_ends_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_sender, "TIMEOUT_SECONDS", 0.3)

    async def never_finish_the_greeting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-Please wait\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(never_finish_the_greeting) as port:
        with pytest.raises(OSError, match=r"did not accept the e-mail in 0\.3 s"):
            await Mailer(f"smtp://127.0.0.1:{port}").send(message_to("bob@example.com"))


async def test_accepted_mail_is_sent_although_the_server_does_not_answer_quit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(email_sender, "QUIT_SECONDS", 0.1)

    async def accept_then_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")
        for answer in (b"250 mail.example.com", b"250 OK", b"250 OK", b"354 Go on"):
            await reader.readline()
            writer.write(answer + b"\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 OK\r\n")
        await reader.read()

    async with raw_server(accept_then_hang) as port:
        await Mailer(f"smtp://127.0.0.1:{port}").send(message_to("bob@example.com"))
