"""Takes notifications from the outbox and delivers them. The channels are independent of each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import assert_never

import aiosmtplib
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.delivery_outcome import (
    NO_DELIVERY_METRICS,
    Delivered,
    DeliveryMetrics,
    Outcome,
    RetryLater,
    Undeliverable,
)
from actors.notify.email_sender import Mailer, compose
from actors.notify.webhook_sender import WebhookSender
from db.connection import is_outage, retry_until_available
from db.notification import outbox
from db.notification.outbox import WEBHOOK, Notification, webhook_of
from db.tracing_api import NO_TRACER, SpanKind, Tracer, entered, mark_failed
from db.values.trace_context import parse_traceparent

MAX_CONCURRENT_TRIES = 4
"""Concurrent attempts on one channel. All must end within LEASE_SECONDS of the outbox."""
MAX_CONCURRENT_CHANNELS = 100
MAX_BATCHES = 25
"""How many times MAX_CONCURRENT_TRIES notifications a channel sends before waiting channels take its place."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OutboxSender:
    """mailer: None without an SMTP server; e-mails are then logged, and the page shows the same.

    webhooks: None when none are sent; their notifications then stay pending.
    """

    database: AsyncEngine
    mailer: Mailer | None
    mail_from: str
    public_url: str
    webhooks: WebhookSender | None = None
    jitter: Callable[[], float] = random.random
    tracer: Tracer = NO_TRACER
    _busy: dict[str, asyncio.Task[int]] = field(default_factory=dict, init=False)

    async def turn(self, metrics: DeliveryMetrics = NO_DELIVERY_METRICS) -> int:
        """Starts a task for every channel with due notifications and does not wait: a slow channel delays no other.

        Returns how many notifications the tasks that ended since the last call have delivered.
        """
        busy = [channel for channel, task in self._busy.items() if not task.done()]
        due = await outbox.due_channels(self.database, without=busy, limit=MAX_CONCURRENT_CHANNELS - len(busy))
        # After the query: when it fails, the counts of the ended tasks are kept for the next turn.
        ended = [self._busy.pop(channel) for channel in set(self._busy).difference(busy)]
        for channel in due:
            if self.webhooks is not None or webhook_of(channel, WEBHOOK) is None:
                self._busy[channel] = asyncio.create_task(self._send_due(channel, metrics))
        return sum(task.result() for task in ended)

    async def run_once(self) -> int:
        """Tries everything that is due and waits for the outcome; returns how many were delivered."""
        done = await self.turn()
        while self._busy:
            await asyncio.wait(self._busy.values())
            done += await self.turn()
        return done

    async def close(self) -> None:
        """Cancels the running tasks. Their notifications are due again after LEASE_SECONDS."""
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._busy.clear()

    async def _send_due(self, channel: str, metrics: DeliveryMetrics) -> int:
        """Sends the due notifications of one channel in batches, while some are delivered; returns how many were.

        An unexpected error ends it and is logged. What was delivered before still counts.
        """
        done = 0
        for _ in range(MAX_BATCHES):
            outcomes = await self._send_batch(channel, metrics)
            delivered = outcomes.count(True)
            done += delivered
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            for error in failures:
                log.error("Sending on a channel failed.", event_name="channel.failed", channel=channel, exc_info=error)
            if failures or not delivered:
                break
        return done

    async def _send_batch(self, channel: str, metrics: DeliveryMetrics) -> Sequence[bool | BaseException]:
        """Sends one batch and waits for its end. Returns for each try whether it was delivered, or its error."""
        try:
            notifications = await outbox.take(self.database, channel, MAX_CONCURRENT_TRIES)
        except Exception as error:  # noqa: BLE001 - its caller records it
            return [error]
        return await asyncio.gather(*(self._try_traced(one, metrics) for one in notifications), return_exceptions=True)

    async def _try_traced(self, notification: Notification, metrics: DeliveryMetrics) -> bool:
        """One attempt, in a span that belongs to the request whose extraction has ended."""
        channel = notification.channel.partition(":")[0]
        ids = {
            "notification_id": str(notification.id),
            "extraction_id": str(notification.extraction_id),
            "video_id": str(notification.video_id),
            "channel": notification.channel,
        }
        if notification.request_id is not None:
            ids["request_id"] = notification.request_id
        span = self.tracer.start(
            f"notify {channel}",
            kind=SpanKind.CLIENT,
            parent=parse_traceparent(notification.traceparent),
            attributes={
                "fotograma.notification.channel": channel,
                "fotograma.notification.id": str(notification.id),
                "fotograma.notification.tries": notification.tries,
                "fotograma.extraction.id": str(notification.extraction_id),
                "fotograma.video.id": str(notification.video_id),
            },
        )
        with (
            structlog.contextvars.bound_contextvars(trace_id=span.context.trace_id, **ids),
            entered(span, request_id=notification.request_id),
        ):
            return await self._try(notification, metrics)

    async def _try(self, notification: Notification, metrics: DeliveryMetrics) -> bool:
        channel = notification.channel.partition(":")[0]
        match await self._outcome(notification):
            case Delivered():
                await retry_until_available(partial(outbox.mark_delivered, self.database, notification))
                metrics.tried(channel, "delivered")
                log.info("A notification was delivered.", event_name="notification.delivered")
                return True
            case RetryLater(error):
                await outbox.postpone(self.database, notification, error, self.jitter())
                metrics.tried(channel, "postponed")
                mark_failed("postponed")
                log.warning("A notification could not be delivered.", event_name="notification.failed", error=error)
            case Undeliverable(error):
                await outbox.give_up(self.database, notification, error)
                metrics.tried(channel, "given_up")
                mark_failed("given_up")
                log.warning("A notification was given up.", event_name="notification.given_up", error=error)
            case never:
                assert_never(never)
        return False

    async def _outcome(self, notification: Notification) -> Outcome:
        """Returns the outcome of one attempt. Raises only when the database is away."""
        try:
            return await self._deliver(notification)
        except Exception as error:
            if is_outage(error):
                raise
            # An unexpected error counts as an attempt; else it would be repeated for ever without a growing pause.
            log.exception("A notification failed unexpectedly.", event_name="notification.failed")
            return RetryLater(f"The delivery failed ({type(error).__name__}).")

    async def _deliver(self, notification: Notification) -> Outcome:
        webhook_id = webhook_of(notification.channel, WEBHOOK)
        if webhook_id is None:
            return await self._mail(notification)
        assert self.webhooks is not None
        return await self.webhooks.deliver(notification, webhook_id)

    async def _mail(self, notification: Notification) -> Outcome:
        try:
            message = compose(notification, sender=self.mail_from, public_url=self.public_url)
            if self.mailer is not None:
                await self.mailer.send(message)
                return Delivered()
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:
            return RetryLater(str(error))
        log.info("No SMTP address is set; the mail would say:", event_name="notification.logged", mail=str(message))
        return Delivered()
