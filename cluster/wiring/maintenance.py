"""The dependencies of maintenance, made from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_loop import Maintenance
from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.redis_stream_relay import StreamRelay, open_relay
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from actors.sandbox.process_hardening import hide_memory
from cluster.settings import Settings, load
from cluster.wiring.json_log import log_as_json
from cluster.wiring.span_export import open_tracer
from db.connection import open_database
from db.object_store.store_factory import open_store


@asynccontextmanager
async def open_maintenance() -> AsyncIterator[Maintenance]:
    """Yields the maintenance jobs."""
    # The secrets stand in this process's environment.
    hide_memory()
    settings = load()
    log_as_json()
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url, name="maintenance")
        stack.push_async_callback(database.dispose)
        mailer = None if settings.smtp_url is None else Mailer(settings.smtp_url.get_secret_value())
        poster = WebhookHttpClient(settings.webhook_reach)
        stack.push_async_callback(poster.close)
        tracer = await stack.enter_async_context(open_tracer("maintenance"))
        sender = OutboxSender(
            database,
            mailer,
            mail_from=settings.mail_from,
            public_url=settings.public_url,
            webhooks=WebhookSender(database, poster),
            tracer=tracer,
        )
        relay = _relay(settings, database)
        if relay is not None:
            stack.push_async_callback(relay.close)
        yield Maintenance(
            database,
            open_store(settings.objects_url),
            sender,
            lease_seconds=settings.lease_seconds,
            video_retention_seconds=settings.video_retention_seconds,
            running_limit=settings.user_running_max,
            relay=relay,
        )


def _relay(settings: Settings, database: AsyncEngine) -> StreamRelay | None:
    if settings.redis_url is None or not settings.events_stream:
        return None
    return open_relay(database, settings.redis_url, key=settings.events_stream, length=settings.events_stream_length)
