"""Webhooks: signed, at least once under a stable id, each for itself, and never to where they may not go."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import WebhookVerificationError
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from actors.notify.delivery_outcome import Outcome
from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.ssrf_safe_http import NoHttpResponseError, WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from db import videos
from db.notification import outbox, webhook_deliveries, webhooks
from db.notification.outbox import Notification
from db.notification.webhook_url_policy import Reach
from db.notification.webhooks import Webhook
from db.queue import task_queue
from db.values.lifecycle import Blame
from tests.integration.actors.test_maintenance import MAIL_FROM, Inbox, inbox
from tests.integration.db.test_queue import PUBLICATION, claim_one, fail
from tests.support import database_rows
from tests.support.database_rows import Accepted
from tests.support.webhook_receiver import WebhookReceiver, run_webhook_receiver

__all__ = ["inbox"]

SECRET = webhooks.secret_of(bytes(range(32)))


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with run_webhook_receiver() as one:
        yield one


@pytest.fixture
async def other() -> AsyncIterator[WebhookReceiver]:
    async with run_webhook_receiver() as one:
        yield one


@pytest.fixture
async def poster() -> AsyncIterator[WebhookHttpClient]:
    one = WebhookHttpClient(Reach.LOOPBACK, answer_seconds=0.5)
    yield one
    await one.close()


@pytest.fixture
async def sender(database: AsyncEngine, poster: WebhookHttpClient) -> AsyncIterator[OutboxSender]:
    one = OutboxSender(
        database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=WebhookSender(database, poster),
        jitter=lambda: 0,
    )  # fmt: skip
    yield one
    await one.close()


async def listen(
    database: AsyncEngine, user_id: UUID, url: str, events: Sequence[str] = webhooks.EVENTS, secret: str = SECRET
) -> Webhook:
    async with database.begin() as connection:
        return await webhooks.create(
            connection, webhook_id=uuid7(), user_id=user_id, url=url, secret=secret, events=events
        )


@pytest.fixture
async def user(database: AsyncEngine) -> UUID:
    """Somebody who wants no mails, so that what is owed is for the webhooks."""
    user_id = await database_rows.create_user(database)
    await database_rows.execute(database, "UPDATE users SET notify = 'none'")
    return user_id


async def failed(database: AsyncEngine, user_id: UUID, code: str = "no_video_stream") -> Accepted:
    accepted = await database_rows.accept_video(database, user_id, filename="férias.mp4")
    await fail(database, (await claim_one(database)).lease, Blame.FILE, code)
    return accepted


async def succeeded(database: AsyncEngine, user_id: UUID) -> Accepted:
    accepted = await database_rows.accept_video(database, user_id)
    await task_queue.publish(database, (await claim_one(database)).lease, PUBLICATION)
    return accepted


async def cancelled(database: AsyncEngine, user_id: UUID) -> Accepted:
    accepted = await database_rows.accept_video(database, user_id)
    async with database.begin() as connection:
        await task_queue.cancel(connection, accepted.extraction_id)
    return accepted


async def make_due(database: AsyncEngine) -> None:
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")


async def channels(database: AsyncEngine) -> list[str]:
    found = await database_rows.fetch_one(
        database, "SELECT coalesce(array_agg(channel ORDER BY channel), '{}') AS all FROM outbox"
    )
    return list(found.all)


@pytest.mark.parametrize(("end", "status"), [(succeeded, "succeeded"), (failed, "failed"), (cancelled, "cancelled")])
async def test_every_end_is_delivered_once_signed_and_complete(
    database: AsyncEngine,
    sender: OutboxSender,
    receiver: WebhookReceiver,
    user: UUID,
    end: Callable[[AsyncEngine, UUID], Awaitable[Accepted]],
    status: str,
) -> None:
    await listen(database, user, receiver.url)
    accepted = await end(database, user)
    assert await sender.run_once() == 1
    assert await sender.run_once() == 0
    (told,) = receiver.verified(SECRET)
    assert told["type"] == f"extraction.{status}"
    assert told["timestamp"].endswith("Z")
    extraction, video = told["data"]["extraction"], told["data"]["video"]
    assert (extraction["id"], extraction["status"]) == (str(accepted.extraction_id), status)
    assert video["id"] == extraction["video_id"] == str(accepted.video_id)
    assert (await database_rows.event_kinds(database, accepted.extraction_id))[-1] == "notified"


async def test_payload_of_a_failure_has_reason_and_remedy(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    await failed(database, user)
    await sender.run_once()
    (told,) = receiver.verified(SECRET)
    assert told["data"]["video"]["filename"] == "férias.mp4"
    error = told["data"]["extraction"]["error"]
    assert (error["code"], error["fault"]) == ("no_video_stream", "file")
    assert error["remedy"].startswith("Send a file that has pictures")


async def test_signature_does_not_verify_with_another_secret(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    await failed(database, user)
    await sender.run_once()
    with pytest.raises(WebhookVerificationError):
        receiver.verified(webhooks.secret_of(bytes(32)))


async def test_reused_result_notifies_webhooks_and_sends_no_mail(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver
) -> None:
    first = await succeeded(database, await database_rows.create_user(database))
    await database_rows.execute(database, "DELETE FROM outbox")
    await listen(database, first.user_id, receiver.url)
    again = await database_rows.accept_reextraction(database, first, engine_name=PUBLICATION.engine)
    assert await sender.run_once() == 1
    (told,) = receiver.verified(SECRET)
    assert (told["data"]["extraction"]["id"], told["data"]["extraction"]["reused"]) == (str(again), True)


async def test_webhook_gets_its_subscribed_events_of_its_own_account_only(
    database: AsyncEngine, user: UUID, receiver: WebhookReceiver
) -> None:
    mine = await listen(database, user, receiver.url, events=["extraction.failed"])
    await listen(database, await database_rows.create_user(database, "bob@example.com"), receiver.url)
    await succeeded(database, user)
    assert await channels(database) == []
    await failed(database, user)
    assert await channels(database) == [f"webhook:{mine.id}"]


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_refused_delivery_is_retried_with_the_same_id_and_body(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID, status: int
) -> None:
    webhook = await listen(database, user, receiver.url)
    await failed(database, user)
    receiver.answers, receiver.headers = [status], {"Location": receiver.url}
    assert await sender.run_once() == 0
    row = await database_rows.fetch_one(database, "SELECT id, due_at > now() AS later, last_error FROM outbox")
    assert row.later
    assert str(status) in row.last_error
    await make_due(database)
    assert await sender.run_once() == 1
    assert receiver.ids == [str(row.id)] * 2
    assert receiver.got[0][1] == receiver.got[1][1]
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert [(one.status, one.error is None) for one in delivery.tries] == [(status, False), (204, True)]


async def test_delivery_is_given_up_after_a_day(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    webhook = await listen(database, user, receiver.url)
    await failed(database, user)
    receiver.answers = [503]
    await database_rows.execute(database, "UPDATE outbox SET owed_since = now() - interval '25 hours'")
    await sender.run_once()
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert delivery.status == webhook_deliveries.DeliveryStatus.GIVEN_UP
    await make_due(database)
    assert await sender.run_once() == 0
    assert len(receiver.got) == 1


async def test_unresolvable_host_is_a_failed_delivery(database: AsyncEngine, sender: OutboxSender, user: UUID) -> None:
    await listen(database, user, "http://a..b/hook")
    await failed(database, user)
    assert await sender.run_once() == 0
    row = await database_rows.fetch_one(
        database, "SELECT last_error, error FROM outbox JOIN deliveries ON outbox_id = outbox.id"
    )
    assert row.last_error == row.error == "The receiver did not answer: its host is not a name."


async def test_unexpected_error_is_a_failed_delivery(
    database: AsyncEngine, sender: OutboxSender, user: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(WebhookHttpClient, "post", broken)
    await listen(database, user, "http://127.0.0.1:9/")
    await failed(database, user)
    assert await sender.run_once() == 0
    assert (
        await database_rows.fetch_one(database, "SELECT last_error FROM outbox")
    ).last_error == "The delivery failed (RecursionError)."


async def test_failing_channel_does_not_repeat_other_channels(
    database: AsyncEngine,
    sender: OutboxSender,
    receiver: WebhookReceiver,
    other: WebhookReceiver,
    inbox: Inbox,
    user: UUID,
) -> None:
    await database_rows.execute(database, "UPDATE users SET notify = 'all'")
    bad = await listen(database, user, receiver.url)
    await listen(database, user, other.url)
    object.__setattr__(sender, "mailer", Mailer(inbox.url))
    await failed(database, user)
    receiver.answers = [500, 500]
    for _ in range(3):
        await sender.run_once()
        await make_due(database)
    assert (len(receiver.got), len(other.got), len(inbox.messages)) == (3, 1, 1)
    assert len({*receiver.ids, *other.ids}) == 2
    (delivery,) = await webhook_deliveries.list_deliveries(database, bad.id, limit=10)
    assert [one.status for one in delivery.tries] == [500, 500, 204]


@dataclass(frozen=True, slots=True)
class Interrupted(WebhookSender):
    """Its connection to the database breaks at the deliveries of one webhook, or of one extraction."""

    victim: UUID | None = None

    async def deliver(self, notification: Notification, webhook_id: UUID) -> Outcome:
        if self.victim in {webhook_id, notification.extraction_id}:
            raise OperationalError("SELECT 1", {}, ConnectionResetError("the connection broke"))
        return await WebhookSender.deliver(self, notification, webhook_id)


def interrupted_sender(database: AsyncEngine, poster: WebhookHttpClient, victim: UUID) -> OutboxSender:
    webhook_sender = Interrupted(database, poster, victim=victim)
    return OutboxSender(database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=webhook_sender)


async def test_database_error_in_one_channel_does_not_stop_other_channels(
    database: AsyncEngine, poster: WebhookHttpClient, receiver: WebhookReceiver, other: WebhookReceiver, user: UUID
) -> None:
    broken = await listen(database, user, other.url)
    fine = [await listen(database, user, receiver.url) for _ in range(3)]
    await failed(database, user)
    sender = interrupted_sender(database, poster, broken.id)
    with capture_logs() as logs:
        assert await sender.run_once() == len(fine)
    assert (len(receiver.verified(SECRET)), len(other.verified(SECRET))) == (len(fine), 0)
    (told,) = [line for line in logs if line["event_name"] == "channel.failed"]
    assert (told["channel"], type(told["exc_info"])) == (f"webhook:{broken.id}", OperationalError)


async def test_database_error_in_one_delivery_does_not_stop_the_others_of_its_channel(
    database: AsyncEngine, poster: WebhookHttpClient, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    victim, *others = [await failed(database, user) for _ in range(3)]
    sender = interrupted_sender(database, poster, victim.extraction_id)
    assert await sender.run_once() == len(others)
    assert len(receiver.verified(SECRET)) == len(others)


async def test_hanging_receiver_delays_no_other_webhook(
    database: AsyncEngine, receiver: WebhookReceiver, other: WebhookReceiver, user: UUID
) -> None:
    """Not even the turn that reaches it: the next ones go on with the others."""
    patient = WebhookHttpClient(Reach.LOOPBACK, answer_seconds=60)
    sender = OutboxSender(
        database, None, mail_from=MAIL_FROM, public_url="http://here", webhooks=WebhookSender(database, patient)
    )
    await listen(database, user, receiver.url)
    receiver.hanging = True
    for _ in range(10):
        await failed(database, user)
    await sender.turn()
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    await listen(database, user, other.url)
    await failed(database, user)
    async with asyncio.timeout(10):
        while await sender.turn() == 0:
            await asyncio.sleep(0.01)
    assert len(other.got) == 1
    assert len(receiver.got) <= 4
    await sender.close()
    await patient.close()


async def test_hanging_receiver_times_out_and_is_retried(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    webhook = await listen(database, user, receiver.url)
    await failed(database, user)
    receiver.hanging = True
    assert await sender.run_once() == 0
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    (one,) = delivery.tries
    assert one.status is None
    assert one.error is not None
    assert "no answer in 0.5 s" in one.error
    assert one.milliseconds >= 500


async def test_410_disables_the_webhook_and_mails_its_owner(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, inbox: Inbox, user: UUID
) -> None:
    object.__setattr__(sender, "mailer", Mailer(inbox.url))
    webhook = await listen(database, user, receiver.url)
    for _ in range(3):
        await failed(database, user)
    receiver.answers = [410] * 9
    await sender.run_once()
    await make_due(database)
    await sender.run_once()
    assert len(receiver.got) <= 3
    (mail,) = inbox.messages
    assert mail["subject"] == "Your webhook was switched off"
    assert str(webhook.id) in mail.get_content()
    found = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert {one.status for one in found} == {webhook_deliveries.DeliveryStatus.GIVEN_UP}
    await failed(database, user)
    assert len(await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)) == 3


async def test_deleted_webhook_gets_no_delivery(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    webhook = await listen(database, user, receiver.url)
    accepted = await failed(database, user)
    assert await webhooks.delete(database, user, webhook.id)
    assert await channels(database) == []
    statement = "INSERT INTO outbox (id, extraction_id, channel) VALUES (uuid_v7(), :id, :channel)"
    await database_rows.execute(database, statement, id=accepted.extraction_id, channel=f"webhook:{webhook.id}")
    assert await sender.run_once() == 0
    assert (await database_rows.fetch_one(database, "SELECT given_up_at FROM outbox")).given_up_at is not None
    assert receiver.got == []


async def test_deleted_video_removes_its_notifications(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    accepted = await failed(database, user)
    await videos.delete(database, user, accepted.video_id)
    assert await sender.run_once() == 0


async def test_deleting_a_video_and_recording_its_delivery_do_not_deadlock(
    database: AsyncEngine, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    accepted = await failed(database, user)
    (channel,) = await outbox.due_channels(database, without=(), limit=10)
    (owed,) = await outbox.take(database, channel)
    mine = {"video_id": accepted.video_id, "user_id": user}
    async with database.begin() as deleting:
        await deleting.execute(text("SELECT FROM extractions WHERE video_id = :video_id FOR UPDATE"), mine)
        noting = asyncio.create_task(outbox.mark_delivered(database, owed))
        while not (
            await database_rows.fetch_one(database, "SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted")
        ).waiting:
            await asyncio.sleep(0.01)
        await deleting.execute(videos.DELETE, mine)
    await noting
    assert await channels(database) == []


async def test_redelivery_requested_during_a_delivery_is_sent(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    webhook = await listen(database, user, receiver.url)
    await failed(database, user)
    receiver.hanging = True
    await sender.turn()
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert await webhook_deliveries.redeliver(database, webhook.id, delivery.id) is not None
    receiver.hanging = False
    receiver.released.set()
    await sender.run_once()
    assert receiver.ids == [str(delivery.id)] * 2
    (delivery,) = await webhook_deliveries.list_deliveries(database, webhook.id, limit=10)
    assert delivery.status == webhook_deliveries.DeliveryStatus.DELIVERED


async def test_concurrent_senders_send_each_delivery_once(
    database: AsyncEngine, poster: WebhookHttpClient, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    for _ in range(12):
        await failed(database, user)
    senders = [
        OutboxSender(database, None, mail_from=MAIL_FROM, public_url="", webhooks=WebhookSender(database, poster))
        for _ in range(2)
    ]
    assert sum(await asyncio.gather(*(one.run_once() for one in senders))) == 12
    assert len(receiver.ids) == len(set(receiver.ids)) == 12


@pytest.mark.parametrize("reach", list(Reach))
async def test_host_that_resolves_to_a_forbidden_address_is_not_connected(
    reach: Reach, receiver: WebhookReceiver
) -> None:
    poster = WebhookHttpClient(reach)
    url = receiver.url.replace("127.0.0.1", "localhost")
    try:
        if reach is Reach.PUBLIC:
            with pytest.raises(NoHttpResponseError, match="no address that may be reached"):
                await poster.post(url, {}, b"{}")
            assert receiver.got == []
        else:
            assert await poster.post(url, {}, b"{}") == 204
    finally:
        await poster.close()


async def test_connection_uses_the_checked_address(monkeypatch: pytest.MonkeyPatch, receiver: WebhookReceiver) -> None:
    """A name server that answers otherwise the second time is asked once."""
    asked, real = [], socket.getaddrinfo

    def rebinding(host: str, port: int, *more: Any, **options: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *more, **options)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    poster = WebhookHttpClient(Reach.LOOPBACK)
    url = receiver.url.replace("127.0.0.1", "rebind.example")
    assert await poster.post(url, {}, b"{}") == 204
    assert asked == ["rebind.example"]
    assert receiver.got[0][0]["host"].startswith("rebind.example:")
    with pytest.raises(NoHttpResponseError, match="no address that may be reached"):
        await poster.post(url, {}, b"{}")
    await poster.close()


async def test_endless_response_body_is_not_read(poster: WebhookHttpClient) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await poster.post(f"http://127.0.0.1:{port}/", {}, b"{}") == 200
    await asyncio.wait_for(ended.wait(), 10)
    server.close()


async def test_payload_has_content_type_user_agent_and_fields(
    database: AsyncEngine, sender: OutboxSender, receiver: WebhookReceiver, user: UUID
) -> None:
    await listen(database, user, receiver.url)
    await failed(database, user)
    await sender.run_once()
    (headers, body), *_ = receiver.got
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("Fotograma/")
    assert set(json.loads(body)) == {"type", "timestamp", "data"}
