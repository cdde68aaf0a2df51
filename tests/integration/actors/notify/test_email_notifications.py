"""E-mails: one for each failed video, in the language of its owner, sent again until a server accepts it."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.notification import outbox
from tests.support.state import database_rows
from tests.support.state.notification_setup import (
    FailingSmtpInbox,
    accept_and_fail,
    accept_and_publish,
    make_outbox_sender,
)

MISSING = "9 of 309 frames could not be decoded with certainty and are left out, the first at 12.345 s."


async def test_failed_video_sends_one_mail_with_reason_and_remedy(
    database: AsyncEngine, inbox: FailingSmtpInbox
) -> None:
    accepted = await accept_and_fail(database)
    sender = make_outbox_sender(database, inbox.url)
    assert await sender.run_once() == 1
    assert await sender.run_once() == 0
    (message,) = inbox.messages
    assert message["subject"] == "Your video failed: holiday.mp4"
    mail = message.get_content()
    assert "The file has no video stream." in mail
    assert "What to do: Send a file that has pictures" in mail
    assert (await database_rows.event_kinds(database, accepted.extraction_id))[-1] == "notified"


async def test_mail_is_in_the_language_of_the_account(database: AsyncEngine, inbox: FailingSmtpInbox) -> None:
    await accept_and_fail(database)
    await database_rows.execute(database, "UPDATE users SET locale = 'pt-BR'")
    await make_outbox_sender(database, inbox.url).run_once()
    assert inbox.messages[0]["subject"] == "Seu vídeo falhou: holiday.mp4"
    assert "este só tem som" in inbox.messages[0].get_content()


@pytest.mark.parametrize(
    ("locale", "subject", "sentence"),
    [
        ("en", "Your frames are ready, 9 missing: clip.mp4", MISSING),
        (
            "pt-BR",
            "Seus quadros estão prontos, 9 em falta: clip.mp4",
            "9 de 309 quadros não puderam ser decodificados com certeza e ficaram de fora, o primeiro em 12,345 s.",
        ),
    ],
)
async def test_mail_about_a_result_tells_how_many_frames_are_missing(
    database: AsyncEngine, inbox: FailingSmtpInbox, locale: str, subject: str, sentence: str
) -> None:
    user_id = await database_rows.create_user(database)
    await accept_and_publish(database, user_id, [{"code": "frames_missing", "detail": MISSING}])
    await database_rows.execute(database, "UPDATE users SET locale = :locale", locale=locale)
    await make_outbox_sender(database, inbox.url).run_once()
    (message,) = inbox.messages
    assert message["subject"] == subject
    assert sentence in message.get_content()


async def test_file_name_cannot_inject_mail_headers(database: AsyncEngine, inbox: FailingSmtpInbox) -> None:
    await accept_and_fail(database, filename="a\r\nBcc: eve@example.com\r\n\r\nx.mp4")
    assert await make_outbox_sender(database, inbox.url).run_once() == 1
    assert [len(recipients) for recipients in inbox.recipients] == [1]
    assert inbox.messages[0]["bcc"] is None
    assert "Bcc: eve@example.com" in inbox.messages[0]["subject"]


async def test_refused_mail_is_sent_again_with_the_same_message_id(
    database: AsyncEngine, inbox: FailingSmtpInbox
) -> None:
    await accept_and_fail(database)
    inbox.refusals = 1
    sender = make_outbox_sender(database, inbox.url)
    assert await sender.run_once() == 0
    row = await database_rows.fetch_one(database, "SELECT tries, last_error, due_at > now() AS later, id FROM outbox")
    assert (row.tries, row.later) == (1, True)
    assert "451" in row.last_error
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")
    assert await sender.run_once() == 1
    assert inbox.messages[0]["message-id"] == f"<{row.id}@example.com>"


async def test_mail_of_a_dead_sender_is_sent_by_the_next(database: AsyncEngine, inbox: FailingSmtpInbox) -> None:
    await accept_and_fail(database)
    assert len(await outbox.take(database, "email")) == 1
    assert await outbox.take(database, "email") == []
    await database_rows.execute(database, "UPDATE outbox SET due_at = now()")
    assert await make_outbox_sender(database, inbox.url).run_once() == 1


async def test_mail_is_given_up_after_a_day(database: AsyncEngine) -> None:
    await accept_and_fail(database)
    await database_rows.execute(database, "UPDATE outbox SET owed_since = now() - interval '25 hours'")
    assert await make_outbox_sender(database, "smtp://127.0.0.1:1").run_once() == 0
    assert (await database_rows.fetch_one(database, "SELECT given_up_at FROM outbox")).given_up_at is not None


async def test_without_mail_server_the_notification_is_logged_and_done(database: AsyncEngine) -> None:
    await accept_and_fail(database)
    assert await make_outbox_sender(database).run_once() == 1


async def test_concurrent_senders_send_each_mail_once(database: AsyncEngine, inbox: FailingSmtpInbox) -> None:
    for _ in range(10):
        await accept_and_fail(database)
    await asyncio.gather(*(make_outbox_sender(database, inbox.url).run_once() for _ in range(3)))
    assert len(inbox.messages) == 10
