"""Steps of notification tests: create senders and webhooks, end extractions, change the outbox."""

from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

from aiosmtpd.smtp import Envelope
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from db.notification import webhooks
from db.notification.webhooks import Webhook
from db.queue import task_queue
from db.values.lifecycle import Blame
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import claim_one, fail_task, publish_result

WEBHOOK_SECRET = webhooks.secret_of(bytes(range(32)))


async def create_webhook(
    database: AsyncEngine,
    user_id: UUID,
    url: str,
    events: Sequence[str] = webhooks.EVENTS,
    secret: str = WEBHOOK_SECRET,
) -> Webhook:
    """Creates a webhook of this account."""
    async with database.begin() as connection:
        return await webhooks.create(
            connection, webhook_id=uuid7(), user_id=user_id, url=url, secret=secret, events=events
        )


async def accept_and_fail(
    database: AsyncEngine, user_id: UUID | None = None, *, filename: str = "holiday.mp4"
) -> Accepted:
    """Accepts a video and fails its task with an error of the file."""
    accepted = await database_rows.accept_video(database, user_id, filename=filename)
    await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "no_video_stream")
    return accepted


async def accept_and_publish(
    database: AsyncEngine, user_id: UUID, warnings: Sequence[Mapping[str, str]] = ()
) -> Accepted:
    accepted = await database_rows.accept_video(database, user_id)
    await publish_result(database, (await claim_one(database)).lease, warnings)
    return accepted


async def accept_and_cancel(database: AsyncEngine, user_id: UUID) -> Accepted:
    accepted = await database_rows.accept_video(database, user_id)
    async with database.begin() as connection:
        await task_queue.cancel(connection, accepted.extraction_id)
    return accepted


async def make_outbox_due(database: AsyncEngine) -> None:
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")


async def outbox_channels(database: AsyncEngine) -> list[str]:
    row = await database_rows.fetch_one(
        database, "SELECT coalesce(array_agg(channel ORDER BY channel), '{}') AS all FROM outbox"
    )
    return list(row.all)


MAIL_FROM = "Fotograma <fotograma@example.com>"


class FailingSmtpInbox:
    """The messages that a real SMTP server takes. refusals: it refuses this many messages first."""

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


def make_outbox_sender(database: AsyncEngine, url: str | None = None) -> OutboxSender:
    return OutboxSender(
        database, Mailer(url) if url else None, mail_from=MAIL_FROM, public_url="http://here", jitter=lambda: 0
    )
