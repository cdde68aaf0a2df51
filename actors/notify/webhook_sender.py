"""Sends webhook deliveries, signed by Standard Webhooks (https://www.standardwebhooks.com).

The body is made from the row of the ended extraction, which no longer changes: each attempt sends the same bytes under
the same id.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook as Signer

from actors.notify.delivery_outcome import Delivered, Outcome, RetryLater, Undeliverable
from actors.notify.ssrf_safe_http import NoHttpResponseError, WebhookHttpClient
from db import videos
from db.extraction_json import extraction_representation
from db.notification import webhook_deliveries, webhooks
from db.notification.outbox import Notification
from db.notification.webhooks import Webhook
from db.tracing_api import current_origin, describe
from db.videos import VideoRow

GONE = 410
_DELETED = "The webhook was deleted."
_DISABLED = "The webhook is switched off."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """now: seconds since the epoch, for the signature. clock: monotonic seconds."""

    database: AsyncEngine
    poster: WebhookHttpClient
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic

    async def deliver(self, notification: Notification, webhook_id: UUID) -> Outcome:
        """Makes one attempt and records it, unless the webhook is gone."""
        webhook = await webhooks.get(self.database, webhook_id)
        if webhook is None or webhook.disabled_at is not None:
            return Undeliverable(_DELETED if webhook is None else _DISABLED)
        rows = await videos.read_rows(self.database, [notification.extraction_id])
        if notification.extraction_id not in rows:
            return Undeliverable("The video was deleted.")
        body = payload(rows[notification.extraction_id])
        headers = signature(webhook, notification.id, body, self.now()) | trace_headers()
        status, error = await self._post(notification, webhook, headers, body)
        if status == GONE:
            await webhooks.disable(self.database, webhook.id, notification.extraction_id, _DISABLED)
            log.warning("A webhook was disabled.", event_name="webhook.disabled", webhook_id=str(webhook.id))
            return Undeliverable(_DISABLED)
        return Delivered() if error is None else RetryLater(error)

    async def _post(
        self, notification: Notification, webhook: Webhook, headers: dict[str, str], body: bytes
    ) -> tuple[int | None, str | None]:
        """Returns the status of the response, and the error if it is not 2xx."""
        began = self.clock()
        status, error = None, None
        try:
            status = await self.poster.post(webhook.url, headers, body)
            describe({"http.request.method": "POST", "http.response.status_code": status})
            error = None if 200 <= status < 300 else f"The receiver answered {status}."
        except NoHttpResponseError as failure:
            error = f"The receiver did not answer: {failure}."
        spent = round((self.clock() - began) * 1000)
        await webhook_deliveries.record(self.database, notification.id, status=status, error=error, milliseconds=spent)
        return status, error


def payload(row: VideoRow) -> bytes:
    """Returns the body: the event, its time, and the extraction."""
    extraction = row.extraction
    document = {
        "type": f"extraction.{extraction.status}",
        "timestamp": extraction.finished_at,
        "data": {
            "extraction": extraction_representation(extraction),
            "video": {"id": row.id, "filename": row.filename},
        },
    }
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def trace_headers() -> dict[str, str]:
    """Returns the W3C trace context of this attempt, for receivers that trace."""
    traceparent = current_origin().traceparent
    return {} if traceparent is None else {"traceparent": traceparent}


def signature(webhook: Webhook, message_id: UUID, body: bytes, now: float) -> dict[str, str]:
    """Returns the signature headers. now: seconds since the epoch."""
    sent_at = datetime.fromtimestamp(int(now), tz=UTC)
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(int(now)),
        "webhook-signature": Signer(webhook.secret).sign(str(message_id), sent_at, body.decode()),
    }
