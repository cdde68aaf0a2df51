"""Checks Redis: reachable, and whether it may throw the stream of events away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.settings import Settings

SUBJECT, WHERE = "redis", "FOTOGRAMA_REDIS_URL"
ANSWER_SECONDS = 5


def redis_findings(settings: Settings) -> list[Finding]:
    """Without Redis the service works, from the database alone."""
    if settings.redis_url is None:
        remedy = "Set it: answers come from the cache, rates hold over all replicas, and other services get the events."
        return [warn(SUBJECT, "There is no Redis.", remedy, WHERE)]
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        with Redis.from_url(
            settings.redis_url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS
        ) as redis:
            info: Any = redis.info()
            saves = _saves(redis)
    except (RedisError, OSError, ValueError) as error:
        text = f"Redis can't be reached: {reason_of(error)}."
        return [
            fail(SUBJECT, text, "Check address and password, and that it runs. Until then nothing is cached.", WHERE)
        ]
    found = stream_findings(info, saves) if settings.events_stream else []
    name = "Valkey" if "valkey_version" in info else "Redis"
    return found or [ok(SUBJECT, f"{name} {info.get('valkey_version') or info['redis_version']}.", WHERE)]


def stream_findings(info: Mapping[str, Any], saves: bool | None) -> list[Finding]:
    """What may happen to the stream of events. info: of the command INFO. saves: whether snapshots are written; None
    when the server does not tell.
    """
    findings = []
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        text = f"With maxmemory-policy {policy} Redis may evict the stream of events."
        findings.append(warn(SUBJECT, text, "Set maxmemory-policy volatile-lru: the stream has no expiry.", WHERE))
    if not info.get("aof_enabled") and saves is False:
        text = "Redis keeps nothing on its disk: the stream of events is empty after its restart."
        remedy = (
            "Set appendonly yes, or send the events again after a restart: fotograma ops replay-events --since TIME."
        )
        findings.append(warn(SUBJECT, text, remedy, WHERE))
    return findings


def _saves(redis: Any) -> bool | None:
    """Whether the server writes snapshots; None when it does not tell: many hosted ones have no CONFIG."""
    from redis.exceptions import ResponseError  # noqa: PLC0415

    try:
        return bool(redis.config_get("save").get("save"))
    except ResponseError:
        return None
