"""Takes notifications out of the outbox and delivers them, each channel for itself."""

from __future__ import annotations

import random
import smtplib
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.mail import Mailer, compose
from db import outbox
from db.outbox import Notification

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """mailer: None where no SMTP address is set; then mails are logged, and the page shows the same."""

    database: AsyncEngine
    mailer: Mailer | None
    mail_from: str
    public_url: str
    jitter: Callable[[], float] = random.random

    async def run_once(self) -> int:
        """Tries everything that is due now; how many were delivered."""
        done = 0
        while notifications := await outbox.take(self.database):
            for notification in notifications:
                done += await self._try(notification)
        return done

    async def _try(self, notification: Notification) -> bool:
        facts = {"notification": str(notification.id), "extraction": str(notification.extraction_id)}
        try:
            await self._deliver(notification)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            log.warning("A notification could not be delivered.", event_name="notify.failed", error=str(error), **facts)
            await outbox.postpone(self.database, notification, str(error), self.jitter())
            return False
        await outbox.delivered(self.database, notification.id)
        log.info("A notification was delivered.", event_name="notify.delivered", channel=notification.channel, **facts)
        return True

    async def _deliver(self, notification: Notification) -> None:
        message = compose(notification, sender=self.mail_from, public_url=self.public_url)
        if self.mailer is None:
            log.info("No SMTP address is set; the mail would say:", event_name="notify.logged", mail=str(message))
            return
        await self.mailer.send(message)
