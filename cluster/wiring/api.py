"""What an API replica works with, made from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from actors.extraction_types import Reader, engine_name
from actors.sandbox.process_hardening import hide_memory
from cluster.settings import Settings, load
from cluster.wiring.json_log import log_as_json
from cluster.wiring.span_export import open_tracer
from db.acceptance.quotas import Quotas
from db.cache import open_cache
from db.connection import open_database
from db.object_store.object_sources import ObjectSources
from db.object_store.store_factory import open_store
from serve_app.deps import Deps
from serve_app.http.request_metrics import NO_API_METRICS, ApiMetrics
from serve_app.http.request_tracing import RequestTracing
from serve_app.security.key_derivation import derive_key, signing_key
from serve_app.security.password_hashing import PasswordHasher
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import TokenSigner
from serve_app.submission.admission_control import AdmissionLimits
from serve_app.submission.receive_chunks import UploadPolicy

API_CONNECTIONS = 20


@asynccontextmanager
async def open_api(metrics: ApiMetrics = NO_API_METRICS) -> AsyncIterator[Deps]:
    """Is closed with the replica."""
    # The secrets stand in this process's environment.
    hide_memory()
    settings = load()
    log_as_json()
    secret = settings.secret_key.get_secret_value()
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url, name="api", connections=API_CONNECTIONS)
        stack.push_async_callback(database.dispose)
        cache = open_cache(settings.redis_url)
        stack.push_async_callback(cache.close)
        password_hasher = PasswordHasher(derive_key(secret, "passwords"))
        stack.callback(password_hasher.close)
        tracer = await stack.enter_async_context(open_tracer("api"))
        yield Deps(
            database=database,
            objects=open_store(settings.objects_url, settings.scratch),
            sources=ObjectSources(settings.objects_url),
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
            uploads=UploadPolicy(
                settings.upload_max_bytes, settings.upload_request_max_bytes, settings.upload_expiry_seconds
            ),
            result_retention_seconds=settings.result_retention_seconds,
            signed_url_seconds=settings.signed_url_seconds,
            webhook_reach=settings.webhook_reach,
            supervisor_state=settings.supervisor_state,
            address_rate_limiter=RateLimiter(RateLimit(settings.address_burst, 1 / settings.address_per_second)),
            metrics=metrics,
            tracing=RequestTracing(tracer, trusts_clients=settings.traceparent_trusted),
        )


def _limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        rate=RateLimit(settings.accept_burst, 1 / settings.accept_per_second),
        quotas=Quotas(settings.user_waiting_max, settings.user_stored_bytes_max, settings.user_minutes_per_day),
        max_queued_tasks=settings.queue_tasks_max,
        max_concurrent_uploads=settings.bodies_max,
        min_free_bytes=settings.storage_reserve_bytes,
    )
