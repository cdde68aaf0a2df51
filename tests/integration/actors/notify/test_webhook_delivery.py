"""Deliveries to webhooks: at least once under a stable id, retried, given up, and ended by deletion."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from db import videos
from db.notification import outbox, webhook_deliveries, webhooks
from db.notification.webhook_url_policy import Reach
from tests.integration.actors.conftest import inbox
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.state import database_rows
from tests.support.state.notification_setup import (
    MAIL_FROM,
    FailingSmtpInbox,
    accept_and_fail,
    create_webhook,
    make_outbox_due,
    outbox_channels,
)

__all__ = ["inbox"]


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_refused_delivery_is_retried_with_the_same_id_and_body(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID, status: int
) -> None:
    webhook = await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    receiver.statuses, receiver.response_headers = [status], {"Location": receiver.url}
    assert await outbox_sender.run_once() == 0
    row = await database_rows.fetch_one(database, "SELECT id, due_at > now() AS later, last_error FROM outbox")
    assert row.later
    assert str(status) in row.last_error
    await make_outbox_due(database)
    assert await outbox_sender.run_once() == 1
    assert receiver.ids == [str(row.id)] * 2
    assert receiver.received[0][1] == receiver.received[1][1]
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert [(attempt.status, attempt.error is None) for attempt in delivery.tries] == [(status, False), (204, True)]


async def test_delivery_is_given_up_after_a_day(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    webhook = await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    receiver.statuses = [503]
    await database_rows.execute(database, "UPDATE outbox SET owed_since = now() - interval '25 hours'")
    await outbox_sender.run_once()
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert delivery.status == webhook_deliveries.DeliveryStatus.GIVEN_UP
    await make_outbox_due(database)
    assert await outbox_sender.run_once() == 0
    assert len(receiver.received) == 1


async def test_unresolvable_host_is_a_failed_delivery(
    database: AsyncEngine, outbox_sender: OutboxSender, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, "http://a..b/hook")
    await accept_and_fail(database, webhook_user)
    assert await outbox_sender.run_once() == 0
    row = await database_rows.fetch_one(
        database, "SELECT last_error, error FROM outbox JOIN deliveries ON outbox_id = outbox.id"
    )
    assert row.last_error == row.error == "The receiver did not answer: its host is not a name."


async def test_unexpected_error_is_a_failed_delivery(
    database: AsyncEngine, outbox_sender: OutboxSender, webhook_user: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(WebhookHttpClient, "post", broken)
    await create_webhook(database, webhook_user, "http://127.0.0.1:9/")
    await accept_and_fail(database, webhook_user)
    assert await outbox_sender.run_once() == 0
    assert (
        await database_rows.fetch_one(database, "SELECT last_error FROM outbox")
    ).last_error == "The delivery failed (RecursionError)."


async def test_hanging_receiver_times_out_and_is_retried(
    database: AsyncEngine, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    impatient = WebhookHttpClient(Reach.LOOPBACK, answer_seconds=0.5)
    outbox_sender = OutboxSender(
        database, None, mail_from=MAIL_FROM, public_url="", webhooks=WebhookSender(database, impatient)
    )
    webhook = await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    receiver.hanging = True
    assert await outbox_sender.run_once() == 0
    await impatient.close()
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    (attempt,) = delivery.tries
    assert attempt.status is None
    assert attempt.error is not None
    assert "no answer in 0.5 s" in attempt.error
    assert attempt.milliseconds >= 500


async def test_410_disables_the_webhook_and_mails_its_owner(
    database: AsyncEngine,
    outbox_sender: OutboxSender,
    receiver: WebhookReceiver,
    inbox: FailingSmtpInbox,
    webhook_user: UUID,
) -> None:
    object.__setattr__(outbox_sender, "mailer", Mailer(inbox.url))
    webhook = await create_webhook(database, webhook_user, receiver.url)
    for _ in range(3):
        await accept_and_fail(database, webhook_user)
    receiver.statuses = [410] * 9
    await outbox_sender.run_once()
    await make_outbox_due(database)
    await outbox_sender.run_once()
    assert len(receiver.received) <= 3
    (mail,) = inbox.messages
    assert mail["subject"] == "Your webhook was switched off"
    assert str(webhook.id) in mail.get_content()
    deliveries = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert {delivery.status for delivery in deliveries} == {webhook_deliveries.DeliveryStatus.GIVEN_UP}
    await accept_and_fail(database, webhook_user)
    assert len(await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)) == 3


async def test_deleted_webhook_gets_no_delivery(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    webhook = await create_webhook(database, webhook_user, receiver.url)
    accepted = await accept_and_fail(database, webhook_user)
    assert await webhooks.delete(database, webhook_user, webhook.id)
    assert await outbox_channels(database) == []
    statement = "INSERT INTO outbox (id, extraction_id, channel) VALUES (uuid_v7(), :id, :channel)"
    await database_rows.execute(database, statement, id=accepted.extraction_id, channel=f"webhook:{webhook.id}")
    assert await outbox_sender.run_once() == 0
    assert (await database_rows.fetch_one(database, "SELECT given_up_at FROM outbox")).given_up_at is not None
    assert receiver.received == []


async def test_deleted_video_removes_its_notifications(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    accepted = await accept_and_fail(database, webhook_user)
    await videos.delete(database, webhook_user, accepted.video_id)
    assert await outbox_sender.run_once() == 0


async def test_deleting_a_video_and_recording_its_delivery_do_not_deadlock(
    database: AsyncEngine, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    accepted = await accept_and_fail(database, webhook_user)
    (channel,) = await outbox.due_channels(database, without=(), limit=10)
    (notification,) = await outbox.take(database, channel)
    ids = {"video_id": accepted.video_id, "user_id": webhook_user}
    async with database.begin() as deletion:
        await deletion.execute(text("SELECT FROM extractions WHERE video_id = :video_id FOR UPDATE"), ids)
        marking = asyncio.create_task(outbox.mark_delivered(database, notification))
        while not (
            await database_rows.fetch_one(database, "SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted")
        ).waiting:
            await asyncio.sleep(0.01)
        await deletion.execute(videos.DELETE, ids)
    await marking
    assert await outbox_channels(database) == []


async def test_redelivery_requested_during_a_delivery_is_sent(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    webhook = await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    receiver.hanging = True
    await outbox_sender.turn()
    await asyncio.wait_for(receiver.arrived.wait(), 30)
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert await webhook_deliveries.redeliver(database, webhook.id, delivery.id) is not None
    receiver.hanging = False
    receiver.released.set()
    await outbox_sender.run_once()
    assert receiver.ids == [str(delivery.id)] * 2
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert delivery.status == webhook_deliveries.DeliveryStatus.DELIVERED


async def test_concurrent_senders_send_each_delivery_once(
    database: AsyncEngine, webhook_client: WebhookHttpClient, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    for _ in range(12):
        await accept_and_fail(database, webhook_user)
    senders = [
        OutboxSender(
            database, None, mail_from=MAIL_FROM, public_url="", webhooks=WebhookSender(database, webhook_client)
        )
        for _ in range(2)
    ]
    assert sum(await asyncio.gather(*(sender.run_once() for sender in senders))) == 12
    assert len(receiver.ids) == len(set(receiver.ids)) == 12
