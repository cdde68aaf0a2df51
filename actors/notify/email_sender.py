"""E-mails about ended extractions and disabled webhooks: their texts, and sending over SMTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

import aiosmtplib

from db.notification.outbox import WEBHOOK_OFF, Notification, webhook_of
from db.values.error_catalogue import CATALOGUE
from db.values.lifecycle import ExtractionStatus
from db.values.warning_texts import missing_frames, warning_sentence

TIMEOUT_SECONDS = 20.0
"""For one e-mail, from the connection to its acceptance."""
QUIT_SECONDS = 2.0
SUBJECT_NAME_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class EmailTexts:
    """The texts in one language, with placeholders for the values of `_placeholders`."""

    succeeded_subject: str
    succeeded_body: str
    missing_subject: str
    warned_subject: str
    warned_body: str
    failed_subject: str
    failed_body: str
    cancelled_subject: str
    cancelled_body: str
    webhook_off_subject: str
    webhook_off_body: str


EMAIL_TEXTS: Mapping[str, EmailTexts] = {
    "en": EmailTexts(
        succeeded_subject="Your frames are ready: {file}",
        succeeded_body="Hello {name},\n\n{file} is done: {frames} frames.\n\nDownload them here: {link}\n",
        missing_subject="Your frames are ready, {missing} missing: {file}",
        warned_subject="Your frames are ready, with warnings: {file}",
        warned_body="Hello {name},\n\n{file} is done: {frames} frames.\n\nPlease note: {warnings}\n\n"
        "Download them here: {link}\n",
        failed_subject="Your video failed: {file}",
        failed_body="Hello {name},\n\n{file} could not be processed.\n\nReason: {reason}\n{detail}\n"
        "What to do: {remedy}\n\nYour videos: {link}\n",
        cancelled_subject="Your video was cancelled: {file}",
        cancelled_body="Hello {name},\n\nthe extraction of {file} was cancelled, and there is no result.\n\n"
        "What to do: retry it when you want the frames after all.\n\nYour videos: {link}\n",
        webhook_off_subject="Your webhook was switched off",
        webhook_off_body="Hello {name},\n\nyour webhook {webhook} answered 410 Gone. It was switched off, and nothing "
        "more is sent to it.\n\nWhat to do: if it should go on, delete it and create it again.\n\n{link}\n",
    ),
    "pt": EmailTexts(
        succeeded_subject="Seus quadros estão prontos: {file}",
        succeeded_body="Olá {name},\n\n{file} terminou: {frames} quadros.\n\nBaixe aqui: {link}\n",
        missing_subject="Seus quadros estão prontos, {missing} em falta: {file}",
        warned_subject="Seus quadros estão prontos, com avisos: {file}",
        warned_body="Olá {name},\n\n{file} terminou: {frames} quadros.\n\nAtenção: {warnings}\n\nBaixe aqui: {link}\n",
        failed_subject="Seu vídeo falhou: {file}",
        failed_body="Olá {name},\n\n{file} não pôde ser processado.\n\nMotivo: {reason}\n{detail}\n"
        "O que fazer: {remedy}\n\nSeus vídeos: {link}\n",
        cancelled_subject="Seu vídeo foi cancelado: {file}",
        cancelled_body="Olá {name},\n\na extração de {file} foi cancelada e não há resultado.\n\n"
        "O que fazer: tente novamente se ainda quiser os quadros.\n\nSeus vídeos: {link}\n",
        webhook_off_subject="Seu webhook foi desligado",
        webhook_off_body="Olá {name},\n\nseu webhook {webhook} respondeu 410 Gone. Ele foi desligado e nada mais é "
        "enviado a ele.\n\nO que fazer: se ele deve continuar, exclua-o e crie-o novamente.\n\n{link}\n",
    ),
}


def compose(notification: Notification, *, sender: str, public_url: str) -> EmailMessage:
    """Returns the e-mail of a notification in the account's language, with the same Message-ID at every try."""
    subject, body = _texts(notification)
    words = _placeholders(notification, public_url)
    name, address = parseaddr(sender)
    domain = address.rpartition("@")[2]
    message = EmailMessage()
    message["Message-ID"] = f"<{notification.id}@{domain}>"
    message["From"] = Address(display_name=name, addr_spec=address)
    message["To"] = Address(addr_spec=notification.email)
    message["Subject"] = subject.format(**words | {"file": words["file"][:SUBJECT_NAME_CHARACTERS]})
    message["Auto-Submitted"] = "auto-generated"
    # Not every mail server accepts 8-bit bodies.
    message.set_content(body.format(**words), cte="quoted-printable")
    return message


def _texts(notification: Notification) -> tuple[str, str]:
    """Returns the templates of subject and body."""
    wording = EMAIL_TEXTS["pt" if notification.locale.lower().startswith("pt") else "en"]
    if webhook_of(notification.channel, WEBHOOK_OFF) is not None:
        return wording.webhook_off_subject, wording.webhook_off_body
    match notification.status:
        case ExtractionStatus.FAILED:
            return wording.failed_subject, wording.failed_body
        case ExtractionStatus.CANCELLED:
            return wording.cancelled_subject, wording.cancelled_body
        case _ if not notification.warnings:
            return wording.succeeded_subject, wording.succeeded_body
        case _ if _missing(notification):
            return wording.missing_subject, wording.warned_body
        case _:
            return wording.warned_subject, wording.warned_body


def _missing(notification: Notification) -> int:
    return sum(missing_frames(warning["code"], warning["detail"]) for warning in notification.warnings or [])


def _placeholders(notification: Notification, public_url: str) -> dict[str, str]:
    entry = CATALOGUE.get(notification.error_code or "")
    text = entry.text(notification.locale) if entry else None
    warnings = [
        warning_sentence(warning["code"], warning["detail"], notification.locale)
        for warning in notification.warnings or []
    ]
    return {
        "name": _one_line(notification.name) or notification.email,
        "file": _one_line(notification.filename),
        "frames": str(notification.frames or 0),
        "missing": str(_missing(notification)),
        "warnings": _one_line(" ".join(warnings)),
        "reason": text.title if text else "",
        "detail": _one_line(notification.error_detail or ""),
        "remedy": text.remedy if text else "",
        "link": public_url,
        "webhook": str(webhook_of(notification.channel, WEBHOOK_OFF) or ""),
    }


def _one_line(text: str) -> str:
    """Removes line breaks. File names are untrusted: a line break in one must not start a header."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


class Mailer:
    """Sends over one SMTP server: smtp://[user:password@]host[:port] with STARTTLS if offered, or smtps://."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("an SMTP address looks like smtp://host:port")
        self._tls, self._host = parts.scheme == "smtps", parts.hostname
        self._port = parts.port or (465 if self._tls else 587 if parts.username else 25)
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password or "") if parts.username else None

    async def send(self, message: EmailMessage) -> None:
        """Returns when the server has accepted the e-mail. Raises OSError or aiosmtplib.SMTPException."""
        async with self._session() as client:
            await client.send_message(message)

    async def check(self) -> None:
        """Connects and logs in. Raises as `send`."""
        async with self._session():
            pass

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Yields a client that has logged in, for one e-mail."""
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._tls,
            tls_context=ssl.create_default_context(),
            timeout=None,
        )
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await client.connect()
                transport = client.transport
                if self._username is not None:
                    await client.login(self._username, self._password or "")
                yield client
            # The e-mail is accepted: a server that does not answer to this must not make it fail.
            with suppress(aiosmtplib.SMTPException):
                await client.quit(timeout=QUIT_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{self._host} did not accept the e-mail in {TIMEOUT_SECONDS:g} s.") from error
        finally:
            client.close()
            if isinstance(transport, asyncio.WriteTransport):
                # A TLS connection would wait for the server's goodbye, perhaps longer than the loop runs.
                transport.abort()
            # The loop closes the socket in its next turn, which may be its last one.
            await asyncio.sleep(0)
