"""Puts the parts together from the settings: what the API, a worker and the keeper each work with.

These functions are importable by name and run inside the replicas: a replica reads its own environment, and no setting
or secret is stored in the cluster's state.
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import Reader, engine_name
from actors.maintenance.maintenance_loop import Maintenance
from actors.notify.email_sender import Mailer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.redis_stream_relay import StreamRelay, open_relay
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from actors.worker.scratch_folder import own_folder
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from cluster.settings import Settings, load
from db.acceptance.quotas import Quotas
from db.cache import open_cache
from db.connection import open_database
from db.object_store.store_factory import open_store
from serve_app.deps import Deps
from serve_app.security.key_derivation import derive_key, signing_key
from serve_app.security.password_hashing import PasswordHasher
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import TokenSigner
from serve_app.submission.admission_control import AdmissionLimits

API_CONNECTIONS = 20
WORKER_CONNECTIONS = 3


@asynccontextmanager
async def open_api() -> AsyncIterator[Deps]:
    """What an API replica works with."""
    settings = load()
    log_as_json()
    database = open_database(settings.database_url, name="api", connections=API_CONNECTIONS)
    cache = open_cache(settings.redis_url)
    secret = settings.secret_key.get_secret_value()
    password_hasher = PasswordHasher(derive_key(secret, "passwords"))
    try:
        yield Deps(
            database=database,
            objects=open_store(settings.objects_url),
            cache=cache,
            token_signer=TokenSigner([signing_key(secret)]),
            password_hasher=password_hasher,
            engine_name=engine_name(Reader(settings.reader)),
            https=settings.public_url.startswith("https:"),
            registration_open=settings.registration_open,
            password_min_length=settings.password_min_length,
            request_max_bytes=settings.request_max_bytes,
            request_max_files=settings.request_max_files,
            access_seconds=settings.access_token_seconds,
            session_seconds=settings.session_seconds,
            limits=_limits(settings),
            webhook_reach=settings.webhook_reach,
            supervisor_state=settings.supervisor_state,
            address_rate_limiter=RateLimiter(RateLimit(settings.address_burst, 1 / settings.address_per_second)),
        )
    finally:
        password_hasher.close()
        await cache.close()
        await database.dispose()


@asynccontextmanager
async def open_worker() -> AsyncIterator[Worker]:
    """A worker with a name of its own; its temporary files go with it."""
    settings = load()
    log_as_json()
    own = uuid.uuid4().hex[:12]
    database = open_database(settings.database_url, name="worker", connections=WORKER_CONNECTIONS)
    cache = open_cache(settings.redis_url)
    try:
        with own_folder(settings.scratch, own) as scratch:
            yield Worker(_bench(settings, database, scratch), cache, name=f"{socket.gethostname()}:{own}")
    finally:
        await cache.close()
        await database.dispose()


@asynccontextmanager
async def open_maintenance() -> AsyncIterator[Maintenance]:
    """The keeper's work."""
    settings = load()
    log_as_json()
    database = open_database(settings.database_url, name="keeper")
    mailer = None if settings.smtp_url is None else Mailer(settings.smtp_url.get_secret_value())
    poster = WebhookHttpClient(settings.webhook_reach)
    sender = OutboxSender(
        database,
        mailer,
        mail_from=settings.mail_from,
        public_url=settings.public_url,
        webhooks=WebhookSender(database, poster),
    )
    relay = _relay(settings, database)
    objects = open_store(settings.objects_url)
    try:
        yield Maintenance(
            database,
            objects,
            sender,
            lease_seconds=settings.lease_seconds,
            running_limit=settings.user_running_max,
            relay=relay,
        )
    finally:
        await poster.close()
        if relay is not None:
            await relay.close()
        await database.dispose()


JSON_LINES: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    # Without the frames' variables: passwords and tokens are among them.
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    structlog.processors.EventRenamer("message", "event_name"),
    structlog.processors.JSONRenderer(),
)
"""What makes an event a line of the log."""


def log_as_json() -> None:
    """Structured events, one JSON object a line."""
    structlog.configure(
        processors=JSON_LINES,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def _relay(settings: Settings, database: AsyncEngine) -> StreamRelay | None:
    if settings.redis_url is None or not settings.events_stream:
        return None
    return open_relay(database, settings.redis_url, key=settings.events_stream, length=settings.events_stream_length)


def _limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        rate=RateLimit(settings.accept_burst, 1 / settings.accept_per_second),
        quotas=Quotas(settings.user_waiting_max, settings.user_stored_bytes_max),
        max_queued_tasks=settings.queue_tasks_max,
        max_concurrent_uploads=settings.bodies_max,
        min_free_bytes=settings.storage_reserve_bytes,
    )


def _bench(settings: Settings, database: AsyncEngine, scratch: Path) -> WorkerDeps:
    return WorkerDeps(
        database=database,
        objects=open_store(settings.objects_url),
        scratch=scratch,
        reader=Reader(settings.reader),
        threads=settings.worker_threads,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        address_space_bytes=settings.decode_memory_bytes,
        seconds_max=settings.decode_seconds_max,
        max_frames=settings.max_frames,
        drain_seconds=settings.drain_seconds,
        segment_seconds=settings.segment_seconds,
    )
