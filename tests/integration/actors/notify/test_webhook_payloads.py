"""What a webhook receives: every subscribed end of its account, signed and complete."""

import json
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import WebhookVerificationError

from actors.notify.outbox_sender import OutboxSender
from db.notification import webhooks
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.notification_setup import (
    WEBHOOK_SECRET,
    accept_and_cancel,
    accept_and_fail,
    accept_and_publish,
    create_webhook,
    outbox_channels,
)
from tests.support.state.queue_steps import PUBLICATION


@pytest.mark.parametrize(
    ("end", "status"),
    [(accept_and_publish, "succeeded"), (accept_and_fail, "failed"), (accept_and_cancel, "cancelled")],
)
async def test_every_end_is_delivered_once_signed_and_complete(
    database: AsyncEngine,
    outbox_sender: OutboxSender,
    receiver: WebhookReceiver,
    webhook_user: UUID,
    end: Callable[[AsyncEngine, UUID], Awaitable[Accepted]],
    status: str,
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    accepted = await end(database, webhook_user)
    assert await outbox_sender.run_once() == 1
    assert await outbox_sender.run_once() == 0
    (message,) = receiver.verified(WEBHOOK_SECRET)
    assert message["type"] == f"extraction.{status}"
    assert message["timestamp"].endswith("Z")
    extraction, video = message["data"]["extraction"], message["data"]["video"]
    assert (extraction["id"], extraction["status"]) == (str(accepted.extraction_id), status)
    assert video["id"] == extraction["video_id"] == str(accepted.video_id)
    assert (await database_rows.event_kinds(database, accepted.extraction_id))[-1] == "notified"


async def test_payload_of_a_failure_has_reason_and_remedy(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user, filename="férias.mp4")
    await outbox_sender.run_once()
    (message,) = receiver.verified(WEBHOOK_SECRET)
    assert message["data"]["video"]["filename"] == "férias.mp4"
    error = message["data"]["extraction"]["error"]
    assert (error["code"], error["fault"]) == ("no_video_stream", "file")
    assert error["remedy"].startswith("Send a file that has pictures")


async def test_signature_does_not_verify_with_another_secret(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    await outbox_sender.run_once()
    with pytest.raises(WebhookVerificationError):
        receiver.verified(webhooks.secret_of(bytes(32)))


async def test_reused_result_notifies_webhooks_and_sends_no_mail(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver
) -> None:
    first = await accept_and_publish(database, await database_rows.create_user(database))
    await database_rows.execute(database, "DELETE FROM outbox")
    await create_webhook(database, first.user_id, receiver.url)
    again = await database_rows.accept_reextraction(database, first, engine_name=PUBLICATION.engine)
    assert await outbox_sender.run_once() == 1
    (message,) = receiver.verified(WEBHOOK_SECRET)
    assert (message["data"]["extraction"]["id"], message["data"]["extraction"]["reused"]) == (str(again), True)


async def test_webhook_gets_its_subscribed_events_of_its_own_account_only(
    database: AsyncEngine, webhook_user: UUID, receiver: WebhookReceiver
) -> None:
    webhook = await create_webhook(database, webhook_user, receiver.url, events=["extraction.failed"])
    await create_webhook(database, await database_rows.create_user(database, "bob@example.com"), receiver.url)
    await accept_and_publish(database, webhook_user)
    assert await outbox_channels(database) == []
    await accept_and_fail(database, webhook_user)
    assert await outbox_channels(database) == [f"webhook:{webhook.id}"]


async def test_payload_has_content_type_user_agent_and_fields(
    database: AsyncEngine, outbox_sender: OutboxSender, receiver: WebhookReceiver, webhook_user: UUID
) -> None:
    await create_webhook(database, webhook_user, receiver.url)
    await accept_and_fail(database, webhook_user)
    await outbox_sender.run_once()
    (headers, body), *_ = receiver.received
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("Fotograma/")
    assert set(json.loads(body)) == {"type", "timestamp", "data"}
