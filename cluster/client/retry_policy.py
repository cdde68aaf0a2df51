"""Whether to send a request again, and when: exponential backoff with full jitter, pure.

Source of the formula: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from cluster.client.effects import ConnectionLost, Reply

TRANSIENT = frozenset({429, 502, 503, 504, 507})
LASTING = frozenset({"quota_exceeded", "too_many_webhooks"})
"""Refusals under a transient status that no waiting changes."""
FOREIGN = frozenset({"http_404", "http_500"})
"""Answers without a problem object, so not the service's own: of a proxy whose application starts, or has just died."""
IN_PROGRESS = "idempotency_in_progress"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is.

    attempts: requests in all, the first one included; 1 turns retries off, None sets no bound.
    patience_seconds: how long after its first failure a request is still repeated.
    first_seconds, most_seconds: bound of the random wait before the second request, doubling up to the most.
    retry_after_seconds: a server that asks for a longer wait than this is not waited for.
    in_progress_seconds: how long the first request with the same Idempotency-Key is waited for, once an answer told of
    it; longer than the lease that the server gives it. foreign_seconds: how long answers that are not the service's own
    are not believed.
    """

    attempts: int | None = 6
    first_seconds: float = 0.5
    max_seconds: float = 20.0
    retry_after_seconds: float = 120.0
    in_progress_seconds: float = 90.0
    foreign_seconds: float = 60.0
    patience_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """tries: requests sent without success so far, at least 1. elapsed_seconds: since the first of them failed.

    in_progress_seconds: since the first of the answers in a row that another request with the same Idempotency-Key is
    under way.
    """

    tries: int
    elapsed_seconds: float
    repeatable: bool
    in_progress_seconds: float = 0.0


def wait_seconds(
    policy: RetryPolicy, attempt: Attempt, outcome: Reply | ConnectionLost, code: str, jitter: float
) -> float | None:
    """How long to wait before sending again, or None when the outcome stands. jitter: random in [0, 1)."""
    if not _passes(attempt, outcome, code):
        return None
    asked = retry_after_seconds(outcome.headers) if isinstance(outcome, Reply) else None
    if _is_exhausted(policy, attempt, code) or (asked or 0) > policy.retry_after_seconds:
        return None
    bound = min(policy.max_seconds, policy.first_seconds * 2.0 ** min(attempt.tries - 1, 32))
    # The jitter comes on top of what the server asks, or all its clients would come back at once.
    return (asked or 0) + jitter * bound


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds; a date counts from the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        seconds = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0.0, seconds)


def is_transient(status: int, code: str) -> bool:
    """Whether the service refused for now only, rather than the request for good."""
    return (status in TRANSIENT and code not in LASTING) or code in FOREIGN


def _is_exhausted(policy: RetryPolicy, attempt: Attempt, code: str) -> bool:
    if code == IN_PROGRESS:
        return attempt.in_progress_seconds >= policy.in_progress_seconds
    patience = min(policy.foreign_seconds, policy.patience_seconds) if code in FOREIGN else policy.patience_seconds
    over = policy.attempts is not None and attempt.tries >= policy.attempts
    return over or attempt.elapsed_seconds >= patience


def _passes(attempt: Attempt, outcome: Reply | ConnectionLost, code: str) -> bool:
    """Whether the same request may succeed later, and may be sent again at all."""
    if isinstance(outcome, ConnectionLost):
        return outcome.unsent or attempt.repeatable
    if outcome.status == 429:
        # What is refused for its rate did nothing, so that it may always be sent again.
        return is_transient(outcome.status, code)
    return attempt.repeatable and (is_transient(outcome.status, code) or code == IN_PROGRESS)
