"""Channels are independent: one that fails, breaks or hangs delays and repeats no other."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from actors.notify.delivery_outcome import Outcome
from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from db.notification import webhook_deliveries
from db.notification.outbox import Notification
from db.notification.webhook_url_policy import Reach
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import RecordedMetrics
from tests.support.state.notification_setup import (
    MAIL_FROM,
    WEBHOOK_SECRET,
    FailingSmtpInbox,
    accept_and_fail,
    create_webhook,
    make_outbox_due,
)


async def test_failing_channel_does_not_repeat_other_channels(
    database: AsyncEngine,
    outbox_sender: OutboxSender,
    receiver: WebhookReceiver,
    other_receiver: WebhookReceiver,
    inbox: FailingSmtpInbox,
    webhook_user: UUID,
) -> None:
    await database_rows.execute(database, "UPDATE users SET notify = 'all'")
    failing = await create_webhook(database, webhook_user, receiver.url)
    await create_webhook(database, webhook_user, other_receiver.url)
    object.__setattr__(outbox_sender, "mailer", Mailer(inbox.url))
    await accept_and_fail(database, webhook_user)
    receiver.statuses = [500, 500]
    for _ in range(3):
        await outbox_sender.run_once()
        await make_outbox_due(database)
    assert (len(receiver.received), len(other_receiver.received), len(inbox.messages)) == (3, 1, 1)
    assert len({*receiver.ids, *other_receiver.ids}) == 2
    (delivery,) = await webhook_deliveries.list_deliveries(database, failing.id, limit=10)
    assert [attempt.status for attempt in delivery.tries] == [500, 500, 204]


@dataclass(frozen=True, slots=True)
class InterruptedSender(WebhookSender):
    """A sender whose database connection breaks at deliveries of one webhook or one extraction."""

    victim: UUID | None = None

    async def deliver(self, notification: Notification, webhook_id: UUID) -> Outcome:
        if self.victim in {webhook_id, notification.extraction_id}:
            raise OperationalError("SELECT 1", {}, ConnectionResetError("the connection broke"))
        return await WebhookSender.deliver(self, notification, webhook_id)


def interrupted_sender(database: AsyncEngine, webhook_client: WebhookHttpClient, victim: UUID) -> OutboxSender:
    webhook_sender = InterruptedSender(database, webhook_client, victim=victim)
    return OutboxSender(database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=webhook_sender)


async def test_database_error_in_one_channel_does_not_stop_other_channels(
    database: AsyncEngine,
    webhook_client: WebhookHttpClient,
    receiver: WebhookReceiver,
    other_receiver: WebhookReceiver,
    webhook_user: UUID,
) -> None:
    broken = await create_webhook(database, webhook_user, other_receiver.url)
    healthy = [await create_webhook(database, webhook_user, receiver.url) for _ in range(3)]
    await accept_and_fail(database, webhook_user)
    outbox_sender = interrupted_sender(database, webhook_client, broken.id)
    with capture_logs() as logs:
        assert await outbox_sender.run_once() == len(healthy)
    assert (len(receiver.verified(WEBHOOK_SECRET)), len(other_receiver.verified(WEBHOOK_SECRET))) == (len(healthy), 0)
    (entry,) = [line for line in logs if line["event_name"] == "channel.failed"]
    assert (entry["channel"], type(entry["exc_info"])) == (f"webhook:{broken.id}", OperationalError)


async def test_database_error_in_one_delivery_does_not_stop_the_others_of_its_channel(
    database: AsyncEngine, webhook_client: WebhookHttpClient, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    victim, *others = [await accept_and_fail(database, webhook_user) for _ in range(3)]
    outbox_sender = interrupted_sender(database, webhook_client, victim.extraction_id)
    assert await outbox_sender.run_once() == len(others)
    assert len(receiver.verified(WEBHOOK_SECRET)) == len(others)


async def test_every_try_is_counted_by_channel_and_outcome(
    database: AsyncEngine, webhook_client: WebhookHttpClient, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    webhooks = WebhookSender(database, webhook_client)
    outbox_sender = OutboxSender(database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=webhooks)
    metrics = RecordedMetrics()
    async with asyncio.timeout(30):
        while not metrics.tries:
            await outbox_sender.turn(metrics)
            await asyncio.sleep(0.01)
    assert metrics.tries == [("webhook", "delivered")]
    await outbox_sender.close()


async def test_hanging_receiver_delays_no_other_webhook(
    database: AsyncEngine, receiver: WebhookReceiver, other_receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    """The turn that starts the hanging delivery does not wait for it. Later turns serve the other webhooks."""
    slow_client = WebhookHttpClient(Reach.LOOPBACK, answer_seconds=60)
    outbox_sender = OutboxSender(
        database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=WebhookSender(database, slow_client)
    )
    await create_webhook(database, webhook_user, receiver.url)
    receiver.hanging = True
    for _ in range(10):
        await accept_and_fail(database, webhook_user)
    await outbox_sender.turn()
    await asyncio.wait_for(receiver.arrived.wait(), 30)
    await create_webhook(database, webhook_user, other_receiver.url)
    await accept_and_fail(database, webhook_user)
    async with asyncio.timeout(30):
        while await outbox_sender.turn() == 0:
            await asyncio.sleep(0.01)
    assert len(other_receiver.received) == 1
    assert len(receiver.received) <= 4
    await outbox_sender.close()
    await slow_client.close()
