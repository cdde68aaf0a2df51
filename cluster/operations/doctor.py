"""Checks all that a service needs, and says of each what to do and where it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cluster.checks.database_check import database_findings
from cluster.checks.finding import Finding, Level
from cluster.checks.machine_check import machine_findings
from cluster.checks.mail_check import mail_findings
from cluster.checks.objects_check import objects_findings
from cluster.checks.redis_check import redis_findings
from cluster.checks.settings_check import settings_findings
from cluster.operations.located_service import DATABASE, OBJECTS, REDIS, SECRET_KEY, LocatedService
from cluster.operations.postgres_clients import client_findings
from cluster.operations.ray_check import ray_findings

if TYPE_CHECKING:
    from cluster.settings import Settings


def examine(service: LocatedService | None, environment: Mapping[str, str]) -> list[Finding]:
    """Returns all findings. service: None when none was located; then only the environment can be looked at."""
    settings, findings = settings_findings(_with_located(environment, service))
    if settings is None:
        return findings
    findings += machine_findings(settings)
    findings += database_findings(settings)
    findings += asyncio.run(_over_the_network(settings))
    if all(finding.subject != "database" or finding.level is not Level.FAIL for finding in findings):
        findings += asyncio.run(client_findings(settings.database_url))
    if service is not None:
        findings += ray_findings(service)
    return findings


def worst(findings: list[Finding]) -> Level:
    levels = {finding.level for finding in findings}
    return next(level for level in (Level.FAIL, Level.WARN, Level.OK) if level in levels or level is Level.OK)


async def _over_the_network(settings: Settings) -> list[Finding]:
    redis = asyncio.to_thread(redis_findings, settings)
    found = await asyncio.gather(redis, objects_findings(settings), mail_findings(settings))
    return [finding for findings in found for finding in findings]


def _with_located(environment: Mapping[str, str], service: LocatedService | None) -> dict[str, str]:
    """The environment as the processes of the service have it: `fotograma up` sets the addresses of its servers."""
    if service is None:
        return dict(environment)
    located = {
        DATABASE: service.database_url,
        REDIS: service.redis_url,
        OBJECTS: service.objects_url,
        SECRET_KEY: service.secret_key,
    }
    if service.data_dir is not None:
        located["FOTOGRAMA_SCRATCH"] = str(service.data_dir.scratch)
    return {**{name: value for name, value in located.items() if value is not None}, **environment}
