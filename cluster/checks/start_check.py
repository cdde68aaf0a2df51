"""What a start refuses before anything is accepted: only what waiting does not change. An outage is waited for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence

from cluster.checks.database_check import database_findings
from cluster.checks.finding import Finding, Level, fail
from cluster.checks.objects_check import objects_findings
from cluster.checks.settings_check import settings_findings
from cluster.settings import Settings

RAY_TOKEN = "RAY_AUTH_MODE"  # noqa: S105 - the name of a variable


ANSWER_SECONDS = 20.0


class StartRefused(Exception):
    """The service can't run as it is set. The message has a line for each fault, with its remedy."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(finding.sentence for finding in findings))
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[type[StartRefused], tuple[Sequence[Finding]]]:
        """Ray copies it from the process that builds an application."""
        return type(self), (self.findings,)


def usable_settings(environment: Mapping[str, str]) -> Settings:
    """Returns the settings of an environment. Raises StartRefused."""
    settings, findings = settings_findings(environment)
    refused = [finding for finding in findings if finding.level is Level.FAIL]
    if settings is None or refused:
        raise StartRefused(refused)
    return settings


def checked_settings() -> Settings:
    """Returns the settings of this process, after its servers were asked. Raises StartRefused.

    `fotograma up` has checked and migrated its own servers.
    """
    settings = usable_settings(os.environ)
    if settings.supervisor_state is None and (refused := _answer_in_time(settings)):
        raise StartRefused(refused)
    return settings


def _answer_in_time(settings: Settings) -> list[Finding]:
    """Asks the servers in a thread: whoever builds the application may run an event loop, and must not wait for a
    server that does not answer. Without an answer nothing is refused.
    """
    found = _token_findings(os.environ)

    def ask() -> None:
        found.extend(_lasting(database_findings(settings)))
        found.extend(_lasting(asyncio.run(objects_findings(settings))))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return list(found)


def _lasting(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level is Level.FAIL and finding.is_lasting]


def _token_findings(environment: Mapping[str, str]) -> list[Finding]:
    if environment.get(RAY_TOKEN) == "token":
        return []
    return [
        fail(
            "ray",
            "Ray takes commands without a token: whoever reaches its ports runs any program in the cluster.",
            "Set RAY_AUTH_MODE=token and a token on all nodes; on Kubernetes authOptions: {mode: token}.",
            RAY_TOKEN,
        )
    ]
