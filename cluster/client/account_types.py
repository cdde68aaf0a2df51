"""The types of the API for accounts and their notifications. Times are aware datetimes, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.client.api_types import ApiValue, Time

NotifyChoice = Literal["all", "failures", "none"]
"""Which ends are told by e-mail."""


@dataclass(frozen=True, slots=True)
class Quotas(ApiValue):
    """What an account may have at most; None means no limit. minutes_per_day: of video, in 24 hours."""

    waiting: int | None = None
    stored_bytes: int | None = None
    minutes_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Usage(ApiValue):
    """What an account has. waiting: extractions that have not ended."""

    videos: int = 0
    waiting: int = 0
    stored_bytes: int = 0
    minutes_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Account(ApiValue):
    """A user of the service. notify: which ends are told by e-mail. quotas, use: only of `Client.me`.

    >>> client.me().quotas.waiting
    500
    """

    id: str
    email: str
    name: str | None = None
    role: str = "user"
    locale: str | None = None
    notify: str | None = None
    created_at: Time | None = None
    quotas: Quotas | None = None
    use: Usage | None = None


@dataclass(frozen=True, slots=True)
class ApiKey(ApiValue):
    """A long-lived key for scripts. secret: only when it was just added.

    >>> client.add_api_key("nightly job").secret
    'fg_secret'
    """

    id: str
    name: str
    created_at: Time
    last_used_at: Time | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Preset(ApiValue):
    """A frame specification under a name. spec: with its defaults; numbers that are not whole are `Decimal`.

    >>> client.presets()[0].spec["sample"]
    {'mode': 'keyframes'}
    """

    name: str
    spec: Mapping[str, Any]
    created_at: Time
    updated_at: Time


@dataclass(frozen=True, slots=True)
class Presets(ApiValue):
    """All presets of an account."""

    items: tuple[Preset, ...]


@dataclass(frozen=True, slots=True)
class Ledger(ApiValue):
    """Every acceptance compared with its extraction. differences: ids that disagree (a limited number); reasons: by id.

    users: the same figures for each account.

        >>> client.ledger().accepted
        1
    """

    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    queued: int
    running: int
    deleted: int
    balanced: bool
    difference_count: int
    differences: tuple[str, ...]
    reasons: Mapping[str, str]
    users: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Webhook(ApiValue):
    """A URL that receives notifications. secret: only when it was just added. disabled_at: since when it is off.

    >>> client.webhooks()[0].events
    ('extraction.failed',)
    """

    id: str
    url: str
    events: tuple[str, ...]
    created_at: Time
    disabled_at: Time | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryTry(ApiValue):
    """status: of the HTTP response, None without one. error: None when the delivery succeeded."""

    at: Time
    milliseconds: int
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery(ApiValue):
    """One notification to one webhook; id is its `webhook-id`. status: pending, delivered or given_up.

    >>> client.deliveries("w-1")[0].type
    'extraction.failed'
    """

    id: str
    type: str
    extraction_id: str
    status: str
    created_at: Time
    due_at: Time | None = None
    delivered_at: Time | None = None
    tries: tuple[DeliveryTry, ...] = ()
