"""What the routes work with, made once by whoever starts the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection

from db.cache import Cache
from db.notification.webhook_url_policy import Reach
from db.object_store.object_store import ObjectStore
from db.values.frame_spec import FrameSpec
from serve_app.archive_index import ArchiveIndexes
from serve_app.security.password_hashing import PasswordHasher
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import TokenSigner
from serve_app.submission.admission_control import AdmissionControl, AdmissionLimits
from serve_app.submission.group_commit import GroupCommit

ACCESS_SECONDS = 600.0
SESSION_SECONDS = 30 * 24 * 3600.0
REQUEST_MAX_BYTES = 64 << 20
REQUEST_MAX_FILES = 100
PER_EMAIL = RateLimit(burst=10, refill_seconds=30.0)
PER_ADDRESS = RateLimit(burst=300, refill_seconds=0.2)


def _offer_all(_spec: FrameSpec) -> None:
    """Nothing that can be said is refused."""


@dataclass(frozen=True, slots=True)
class Deps:
    """engine_name: reader and engine version that extract now; results of the same are reused.

    https: whether the public address is https; then the cookie is Secure. request_max_bytes: what the files of one
    multipart request may sum up to. access_seconds, session_seconds: how long an access token and a session live.
    limits: what may come in; `admission` keeps to them. per_email: log-ins to one account. per_address: log-ins and
    registrations together, of one network address. webhook_reach: how near a webhook may be.
    check_spec: raises FotogramaError `unsupported_spec` for a specification that the engine does not offer.
    """

    database: AsyncEngine
    objects: ObjectStore
    cache: Cache
    signer: TokenSigner
    passwords: PasswordHasher
    engine_name: str
    https: bool = False
    registration_open: bool = True
    password_min_length: int = 8
    request_max_bytes: int = REQUEST_MAX_BYTES
    request_max_files: int = REQUEST_MAX_FILES
    access_seconds: float = ACCESS_SECONDS
    session_seconds: float = SESSION_SECONDS
    limits: AdmissionLimits = field(default_factory=AdmissionLimits)
    webhook_reach: Reach = Reach.PUBLIC
    check_spec: Callable[[FrameSpec], None] = _offer_all
    frame_tables: ArchiveIndexes = field(default_factory=ArchiveIndexes)
    per_email: RateLimiter = field(default_factory=lambda: RateLimiter(PER_EMAIL))
    per_address: RateLimiter = field(default_factory=lambda: RateLimiter(PER_ADDRESS))
    admission: AdmissionControl = field(init=False)
    acceptor: GroupCommit = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "admission", AdmissionControl(self.database, self.cache, self.objects, self.limits))
        object.__setattr__(self, "acceptor", GroupCommit(self.database, self.limits.quotas))


def deps_of(connection: HTTPConnection) -> Deps:
    """The application's."""
    deps = connection.app.state.deps
    assert isinstance(deps, Deps)
    return deps
