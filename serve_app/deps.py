"""The dependencies of the endpoints: database, object store, cache, keys, limits. One set in each process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from db.cache import Cache
from db.notification.webhook_url_policy import Reach
from db.object_store.object_sources import ObjectSources
from db.object_store.object_store import ObjectStore
from serve_app.archive_index import ArchiveIndexCache
from serve_app.concurrent_exports import ConcurrentExports
from serve_app.http.request_metrics import NO_API_METRICS, ApiMetrics
from serve_app.http.request_tracing import UNTRACED, RequestTracing
from serve_app.image_renditions import ImageRenditions
from serve_app.live.extraction_feed import ExtractionFeed
from serve_app.security.password_hashing import PasswordHasher
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import TokenSigner
from serve_app.submission.admission_control import AdmissionControl, AdmissionLimits
from serve_app.submission.group_commit import GroupCommit
from serve_app.submission.receive_chunks import ChunkReceiver, UploadPolicy
from serve_app.submission.receive_files import FileReceiver

EMAIL_RATE = RateLimit(burst=10, refill_seconds=30.0)


@dataclass(frozen=True, slots=True)
class Deps:
    """What the endpoints use.

    engine_name: name and version of the engine that extracts now; only results of the same engine are reused.
    sources: buckets and folders from which calls in the cluster may have videos copied.
    https: whether the public address is https; then the cookie is Secure.
    request_max_bytes: the largest sum of all files of one multipart request.
    access_seconds, session_seconds: the lifetimes of an access token and of a session.
    limits: what `admission` and `group_commit` enforce.
    result_retention_seconds: how long a reused result is kept at least; None for ever.
    uploads: the limits of uploads by tus.
    signed_url_seconds: how long a bucket's own URL of an archive is good; None: the API sends archives itself.
    webhook_reach: which networks a webhook may be in.
    supervisor_state: file in which the supervisor of the service says what its parts do.
    email_rate_limiter: log-ins of one account.
    address_rate_limiter: log-ins and registrations from one network address.
    """

    database: AsyncEngine
    objects: ObjectStore
    sources: ObjectSources
    cache: Cache
    token_signer: TokenSigner
    password_hasher: PasswordHasher
    engine_name: str
    https: bool
    registration_open: bool
    password_min_length: int
    request_max_bytes: int
    request_max_files: int
    access_seconds: float
    session_seconds: float
    limits: AdmissionLimits
    uploads: UploadPolicy
    signed_url_seconds: float | None
    result_retention_seconds: float | None
    webhook_reach: Reach
    supervisor_state: Path | None
    address_rate_limiter: RateLimiter
    metrics: ApiMetrics = NO_API_METRICS
    tracing: RequestTracing = UNTRACED
    exports: ConcurrentExports = field(default_factory=ConcurrentExports)
    archive_indexes: ArchiveIndexCache = field(default_factory=ArchiveIndexCache)
    image_renditions: ImageRenditions = field(default_factory=ImageRenditions)
    email_rate_limiter: RateLimiter = field(default_factory=lambda: RateLimiter(EMAIL_RATE))
    extraction_feed: ExtractionFeed = field(init=False)
    admission: AdmissionControl = field(init=False)
    file_receiver: FileReceiver = field(init=False)
    group_commit: GroupCommit = field(init=False)
    chunk_receiver: ChunkReceiver = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extraction_feed", ExtractionFeed(self.database, self.cache))
        admission = AdmissionControl(self.database, self.cache, self.objects, self.limits, self.uploads.expiry_seconds)
        object.__setattr__(self, "admission", admission)
        object.__setattr__(self, "file_receiver", FileReceiver(self.database, self.objects, self.request_max_files))
        object.__setattr__(self, "group_commit", GroupCommit(self.database, self.limits.quotas, self.metrics))
        chunk_receiver = ChunkReceiver(self.database, self.objects, self.group_commit, admission, self.uploads)
        object.__setattr__(self, "chunk_receiver", chunk_receiver)


def deps_of(connection: HTTPConnection) -> Deps:
    """The dependencies of the application that serves this connection."""
    deps = connection.app.state.deps
    assert isinstance(deps, Deps)
    return deps
