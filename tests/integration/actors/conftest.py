"""Fixtures for tests of notifications: an SMTP server, webhook receivers, and the sender of the outbox."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.outbox_sender import OutboxSender
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from db.notification.webhook_url_policy import Reach
from tests.support.servers.smtp_server import SmtpServer
from tests.support.servers.webhook_receiver import WebhookReceiver, run_webhook_receiver
from tests.support.state import database_rows
from tests.support.state.notification_setup import MAIL_FROM, FailingSmtpInbox


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with run_webhook_receiver() as webhook_receiver:
        yield webhook_receiver


@pytest.fixture
async def other_receiver() -> AsyncIterator[WebhookReceiver]:
    async with run_webhook_receiver() as webhook_receiver:
        yield webhook_receiver


@pytest.fixture
async def webhook_client() -> AsyncIterator[WebhookHttpClient]:
    client = WebhookHttpClient(Reach.LOOPBACK)
    yield client
    await client.close()


@pytest.fixture
async def outbox_sender(database: AsyncEngine, webhook_client: WebhookHttpClient) -> AsyncIterator[OutboxSender]:
    sender = OutboxSender(
        database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=WebhookSender(database, webhook_client),
        jitter=lambda: 0,
    )  # fmt: skip
    yield sender
    await sender.close()


@pytest.fixture
async def webhook_user(database: AsyncEngine) -> UUID:
    """An account without mails, so that every outbox row is for a webhook."""
    user_id = await database_rows.create_user(database)
    await database_rows.execute(database, "UPDATE users SET notify = 'none'")
    return user_id


@pytest.fixture
def inbox() -> Iterator[FailingSmtpInbox]:
    handler = FailingSmtpInbox()
    server = SmtpServer(handler)
    server.start()
    handler.url = f"smtp://127.0.0.1:{server.port}"
    yield handler
    server.stop()
