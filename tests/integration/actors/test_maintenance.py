"""The maintenance: rescues, notifies and cleans up, and waits an outage out before it punishes anybody."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.maintenance.maintenance_job import FunctionJob
from actors.maintenance.maintenance_loop import STALLED_SECONDS, Maintenance, MaintenanceStalledError
from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from db import videos
from db.acceptance import acceptance_audit, object_reservations
from db.acceptance.acceptance_audit import Balance
from db.connection import is_outage, open_database
from db.notification import outbox
from db.object_store.object_keys import result_prefix, video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Publication
from db.values.lifecycle import Blame
from tests.integration.db.test_queue import claim_one, expire, fail
from tests.integration.db.test_queue_split import open_and_counted
from tests.support import database_rows
from tests.support.database_rows import Accepted

MAIL_FROM = "Fotograma <fotograma@example.com>"


class Inbox:
    """A real SMTP server's mailbox; refuses the first `refusals` messages."""

    url: str

    def __init__(self, refusals: int = 0) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refusals = refusals

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:
        if self.refusals:
            self.refusals -= 1
            return "451 Try again later"
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    handler = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    handler.url = f"smtp://127.0.0.1:{port}"
    yield handler
    controller.stop()


def sender_of(database: AsyncEngine, url: str | None = None) -> OutboxSender:
    return OutboxSender(
        database, Mailer(url) if url else None, mail_from=MAIL_FROM, public_url="http://here", jitter=lambda: 0
    )


def maintenance_of(
    database: AsyncEngine, store: ObjectStore, clock: Callable[[], float] = lambda: 0.0, lease_seconds: float = 0.0
) -> Maintenance:
    return Maintenance(
        database, store, sender_of(database), lease_seconds=lease_seconds, clock=clock, jitter=lambda: 0.0
    )


async def failed(database: AsyncEngine, code: str = "no_video_stream", filename: str = "holiday.mp4") -> Accepted:
    accepted = await database_rows.accept_video(database, filename=filename)
    await fail(database, (await claim_one(database)).lease, Blame.FILE, code)
    return accepted


async def chunks(data: bytes = b"data") -> AsyncIterator[bytes]:
    yield data


async def test_failed_video_sends_one_mail_with_reason_and_remedy(database: AsyncEngine, inbox: Inbox) -> None:
    accepted = await failed(database)
    sender = sender_of(database, inbox.url)
    assert await sender.run_once() == 1
    assert await sender.run_once() == 0
    (message,) = inbox.messages
    assert message["subject"] == "Your video failed: holiday.mp4"
    mail = message.get_content()
    assert "The file has no video stream." in mail
    assert "What to do: Send a file that has pictures" in mail
    assert (await database_rows.event_kinds(database, accepted.extraction_id))[-1] == "notified"


async def test_mail_is_in_the_language_of_the_account(database: AsyncEngine, inbox: Inbox) -> None:
    await failed(database)
    await database_rows.execute(database, "UPDATE users SET locale = 'pt-BR'")
    await sender_of(database, inbox.url).run_once()
    assert inbox.messages[0]["subject"] == "Seu vídeo falhou: holiday.mp4"
    assert "este só tem som" in inbox.messages[0].get_content()


async def test_file_name_cannot_inject_mail_headers(database: AsyncEngine, inbox: Inbox) -> None:
    await failed(database, filename="a\r\nBcc: eve@example.com\r\n\r\nx.mp4")
    assert await sender_of(database, inbox.url).run_once() == 1
    assert [len(recipients) for recipients in inbox.recipients] == [1]
    assert inbox.messages[0]["bcc"] is None
    assert "Bcc: eve@example.com" in inbox.messages[0]["subject"]


async def test_refused_mail_is_sent_again_with_the_same_message_id(database: AsyncEngine, inbox: Inbox) -> None:
    await failed(database)
    inbox.refusals = 1
    sender = sender_of(database, inbox.url)
    assert await sender.run_once() == 0
    row = await database_rows.fetch_one(database, "SELECT tries, last_error, due_at > now() AS later, id FROM outbox")
    assert (row.tries, row.later) == (1, True)
    assert "451" in row.last_error
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")
    assert await sender.run_once() == 1
    assert inbox.messages[0]["message-id"] == f"<{row.id}@example.com>"


async def test_mail_of_a_dead_sender_is_sent_by_the_next(database: AsyncEngine, inbox: Inbox) -> None:
    await failed(database)
    assert len(await outbox.take(database, "email")) == 1
    assert await outbox.take(database, "email") == []
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")
    assert await sender_of(database, inbox.url).run_once() == 1


async def test_mail_is_given_up_after_a_day(database: AsyncEngine) -> None:
    await failed(database)
    await database_rows.execute(database, "UPDATE outbox SET owed_since = now() - interval '25 hours'")
    assert await sender_of(database, "smtp://127.0.0.1:1").run_once() == 0
    assert (await database_rows.fetch_one(database, "SELECT given_up_at FROM outbox")).given_up_at is not None


async def test_without_mail_server_the_notification_is_logged_and_done(database: AsyncEngine) -> None:
    await failed(database)
    assert await sender_of(database).run_once() == 1


async def test_concurrent_senders_send_each_mail_once(database: AsyncEngine, inbox: Inbox) -> None:
    for _ in range(10):
        await failed(database)
    await asyncio.gather(*(sender_of(database, inbox.url).run_once() for _ in range(3)))
    assert len(inbox.messages) == 10


async def test_expired_lease_is_rescued_after_a_whole_lease_of_a_reachable_database(
    database: AsyncEngine, store: ObjectStore
) -> None:
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire(database, accepted.task_id)
    now = [0.0]
    maintenance = maintenance_of(database, store, clock=lambda: now[0], lease_seconds=0.5)
    assert await maintenance.lease_rescuer.run() == 0
    now[0] = 0.4
    assert await maintenance.lease_rescuer.run() == 0
    now[0] = 0.6
    assert await maintenance.lease_rescuer.run() == 1
    assert (await database_rows.fetch_task(database, accepted.task_id)).losses == 1


@pytest.mark.parametrize(("ours", "theirs"), [(0, 3600), (3600, 0), (3600, 3600), (0, -60)])
async def test_suspended_process_or_server_counts_as_an_outage(
    database: AsyncEngine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, ours: float, theirs: float
) -> None:
    """Suspended, or its clock put on: the leases are late, and their holders had no chance to renew them."""
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire(database, accepted.task_id)
    clocks = {"ours": 0.0, "theirs": 1000.0}

    async def check(_database: AsyncEngine) -> float:
        return clocks["theirs"]

    monkeypatch.setattr("db.connection.check", check)
    maintenance = maintenance_of(database, store, clock=lambda: clocks["ours"], lease_seconds=0.5)

    async def turn(ours: float, theirs: float) -> int:
        clocks["ours"] += ours
        clocks["theirs"] += theirs
        return await maintenance.lease_rescuer.run()

    assert [await turn(0.2, 0.2) for _ in range(3)] == [0, 0, 0]
    assert await turn(ours or 0.2, theirs or 0.2) == 0
    assert [await turn(0.2, 0.2) for _ in range(3)] == [0, 0, 1]


async def test_locked_task_does_not_delay_the_rescue_of_others(database: AsyncEngine, store: ObjectStore) -> None:
    frozen, late = await database_rows.accept_video(database), await database_rows.accept_video(database)
    for one in (frozen, late):
        await claim_one(database)
        await expire(database, one.task_id)
    maintenance = maintenance_of(database, store)
    async with database.begin() as connection:
        await connection.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": frozen.task_id})
        assert await maintenance.lease_rescuer.run() == 1
        assert (await database_rows.fetch_task(database, late.task_id)).losses == 1
    assert await maintenance.lease_rescuer.run() == 1


async def test_frozen_transaction_loses_its_locks_and_sees_an_outage(
    database: AsyncEngine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection.IDLE_IN_TRANSACTION_SECONDS", 1)
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire(database, accepted.task_id)
    maintenance = maintenance_of(database, store)
    frozen = open_database(database.url.render_as_string(hide_password=False), name="frozen")
    async with frozen.connect() as connection:
        await connection.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": accepted.task_id})
        while await maintenance.lease_rescuer.run() == 0:
            pass
        with pytest.raises(DBAPIError) as lost:
            await connection.execute(text("SELECT 1"))
    assert is_outage(lost.value)
    await frozen.dispose()


async def test_lock_timeout_is_not_an_outage_and_does_not_delay_rescue(
    database: AsyncEngine, store: ObjectStore
) -> None:
    now = [0.0]
    maintenance = maintenance_of(database, store, clock=lambda: now[0], lease_seconds=4)
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire(database, accepted.task_id)
    assert await maintenance.lease_rescuer.run() == 0

    async def locked_out() -> int:
        async with database.begin() as first, database.begin() as second:
            await first.execute(text("LOCK TABLE outbox"))
            await second.execute(text("SET LOCAL lock_timeout = '10ms'"))
            await second.execute(text("LOCK TABLE outbox"))
        return 0

    await maintenance.run_job(FunctionJob("locked_out", 0, locked_out))
    now[0] = 5.0
    assert await maintenance.lease_rescuer.run() == 1


async def test_hanging_job_fails_the_health_check(database: AsyncEngine, store: ObjectStore) -> None:
    now = [0.0]
    maintenance = maintenance_of(database, store, clock=lambda: now[0])
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang() -> int:
        begun.set()
        await never.wait()
        return 0

    hanging = asyncio.create_task(maintenance.run_job(FunctionJob("rescue", 0, hang)))
    await begun.wait()
    maintenance.check()
    now[0] = STALLED_SECONDS + 1
    with pytest.raises(MaintenanceStalledError, match="rescue"):
        maintenance.check()
    hanging.cancel()


async def test_task_lost_too_often_fails_and_is_notified(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    await database_rows.execute(database, "UPDATE tasks SET losses = 20")
    await claim_one(database)
    await expire(database, accepted.task_id)
    assert await maintenance_of(database, store).lease_rescuer.run() == 1
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).error_code == "workers_lost"
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1


async def test_abandoned_upload_is_removed_after_a_day(database: AsyncEngine, store: ObjectStore) -> None:
    user = await database_rows.create_user(database)
    fresh, old = video_key(uuid7()), video_key(uuid7())
    for key in (fresh, old):
        await object_reservations.reserve(database, user, key)
        await store.put(key, chunks())
    await database_rows.execute(
        database, "UPDATE reservations SET created_at = now() - interval '25 hours' WHERE object_key = :key", key=old
    )
    assert await maintenance_of(database, store).abandoned_upload_cleaner.run() == 1
    assert await store.keys("videos") == [fresh]
    assert (await database_rows.fetch_one(database, "SELECT object_key FROM reservations")).object_key == fresh


async def test_objects_of_a_deleted_video_are_removed(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    other = await database_rows.accept_video(database)
    for key in (
        video_key(accepted.video_id),
        f"{result_prefix(accepted.extraction_id, accepted.task_id, 1)}/frames.zip",
        video_key(other.video_id),
    ):
        await store.put(key, chunks())
    await videos.delete(database, accepted.user_id, accepted.video_id)
    assert await maintenance_of(database, store).garbage_cleaner.run() == 2
    assert await store.keys("videos") == [video_key(other.video_id)]
    assert await store.keys("results") == []


async def test_objects_of_lost_attempts_are_removed_and_the_result_stays(
    database: AsyncEngine, store: ObjectStore
) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    kept = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    lost = result_prefix(accepted.extraction_id, accepted.task_id, 10)
    for prefix in (kept, lost):
        await store.put(f"{prefix}/frames.zip", chunks())
    publication = Publication(kept, "auto/1", 1, 4, "f" * 64, [])
    await task_queue.publish(database, lease, publication)
    maintenance = maintenance_of(database, store)
    assert await maintenance.lost_attempt_cleaner.run() == 1
    assert await store.keys("results") == [f"{kept}/frames.zip"]
    assert await maintenance.lost_attempt_cleaner.run() == 0


async def test_reused_result_is_not_removed(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    prefix = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    await store.put(f"{prefix}/frames.zip", chunks())
    await task_queue.publish(database, lease, Publication(prefix, "auto/1", 1, 4, "f" * 64, []))
    again = await database_rows.accept_reextraction(database, accepted)
    assert (await database_rows.fetch_extraction(database, again)).reused
    await maintenance_of(database, store).lost_attempt_cleaner.run()
    assert await store.keys("results") == [f"{prefix}/frames.zip"]


async def surgery(database: AsyncEngine, statement: str, extraction_id: UUID) -> None:
    """Changes rows past the triggers, as a hand in the tables may."""
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(statement), {"id": extraction_id})


async def recounted_and_repaired(maintenance: Maintenance) -> int:
    """The maintenance's turns in their order: shares are recounted ten times as often as stuck work is looked for."""
    await maintenance.share_reconciler.run()
    return await maintenance.stuck_work_repairer.run()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tasks WHERE extraction_id = :id",
        "UPDATE tasks SET state = 'done', leased_by = NULL, lease_expires_at = NULL WHERE extraction_id = :id",
    ],
)
async def test_extraction_without_open_task_is_requeued_once_then_fails_and_is_notified(
    database: AsyncEngine, store: ObjectStore, statement: str
) -> None:
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    maintenance = maintenance_of(database, store)
    assert await maintenance.stuck_work_repairer.run() == 0
    await surgery(database, statement, accepted.extraction_id)
    processes = maintenance, maintenance_of(database, store)
    assert sum(await asyncio.gather(*map(recounted_and_repaired, processes))) == 1
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "queued"
    assert await open_and_counted(database, accepted.user_id) == (1, 1)
    await claim_one(database)
    await surgery(database, statement, accepted.extraction_id)
    assert sum(await asyncio.gather(*map(recounted_and_repaired, processes))) == 1
    ended = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (ended.status, ended.error_code) == ("failed", "internal")
    assert await open_and_counted(database, accepted.user_id) == (0, 0)
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1
    assert (await acceptance_audit.compare(database)).total.balanced


async def test_open_task_of_an_ended_extraction_is_cancelled(database: AsyncEngine, store: ObjectStore) -> None:
    await failed(database)
    task = "INSERT INTO tasks (id, extraction_id, user_id) SELECT gen_random_uuid(), id, user_id FROM extractions"
    await database_rows.execute(database, task)
    assert not (await acceptance_audit.compare(database)).total.balanced
    processes = maintenance_of(database, store), maintenance_of(database, store)
    assert sum(await asyncio.gather(*map(recounted_and_repaired, processes))) == 1
    assert await task_queue.claim(database, worker="w") == []
    assert (await acceptance_audit.compare(database)).total.balanced


class Noted:
    def __init__(self) -> None:
        self.actions: list[tuple[str, int]] = []
        self.balances: list[Balance] = []
        self.compared = asyncio.Event()

    def acted(self, action: str, count: int) -> None:
        self.actions.append((action, count))

    def balanced(self, balance: Balance) -> None:
        self.balances.append(balance)
        self.compared.set()


async def test_metrics_count_maintenance_and_ledger_differences(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    await surgery(database, "DELETE FROM extractions WHERE id = :id", accepted.extraction_id)
    noted = Noted()
    running = asyncio.create_task(maintenance_of(database, store).run(noted))
    async with asyncio.timeout(10):
        await noted.compared.wait()
    running.cancel()
    await asyncio.wait({running})
    assert noted.balances[0].difference_count == 1
    assert ("ledger", 1) in noted.actions
