"""Checks the settings of an environment. Pure: connects to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError

from cluster.checks.finding import Finding, fail, ok, warn
from cluster.settings import Settings

PREFIX = "FOTOGRAMA_"
OTHER_NAMES = frozenset({"URL", "API_KEY", "PASSWORD", "COMPLETE", "SUITE", "FAULTS", "SCREENSHOTS", "KUBERAY_CRDS"})
"""Names with the prefix that are no settings of the service: of the command line and of the tests."""
SECRET_CHARACTERS = 32
SUBJECT = "settings"


def settings_findings(environment: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Returns the settings, and what is wrong with them; None when they can't be used."""
    settings, findings = None, list(_unknown_names(environment))
    try:
        settings = Settings.model_validate(_values_of(environment))
    except ValidationError as error:
        findings += _bad_values(error)
    else:
        findings += _contradictions(settings)
    return settings, findings or [ok(SUBJECT, "All settings are known, and can be used.")]


def _values_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings by their fields. Both spellings of a variable are one, as in the service."""
    return {
        name.upper().removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.upper().startswith(PREFIX)
    }


def _unknown_names(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = {name.upper() for name in Settings.model_fields}
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if not variable.upper().startswith(PREFIX) or name in known or name in OTHER_NAMES:
            continue
        similar = get_close_matches(name, known, 1)
        remedy = f"Did you mean {PREFIX}{similar[0]}?" if similar else "Remove it; docs/reference/settings.md has all."
        yield warn(SUBJECT, f"{variable} is no setting, and changes nothing.", remedy, variable)


def _bad_values(error: ValidationError) -> Iterator[Finding]:
    for each in error.errors(include_input=False, include_url=False):
        variable = f"{PREFIX}{each['loc'][0]}".upper()
        field = Settings.model_fields.get(str(each["loc"][0]))
        purpose = " ".join((field.description or "").split()) if field else ""
        if each["type"] == "missing":
            yield fail(SUBJECT, f"{variable} is not set, and the service can't run without it.", purpose, variable)
        else:
            yield fail(SUBJECT, f"{variable} can't be used: {each['msg']}.", f"It is: {purpose}", variable)


def _contradictions(settings: Settings) -> Iterator[Finding]:
    if len(settings.secret_key.get_secret_value()) < SECRET_CHARACTERS:
        yield fail(
            SUBJECT,
            f"FOTOGRAMA_SECRET_KEY has fewer than {SECRET_CHARACTERS} characters, and could be guessed.",
            "Set one of openssl rand -hex 32. Passwords that were set with the old key are refused then.",
            "FOTOGRAMA_SECRET_KEY",
        )
    if settings.heartbeat_seconds * 2 > settings.lease_seconds:
        yield fail(
            SUBJECT,
            "FOTOGRAMA_HEARTBEAT_SECONDS is more than half of FOTOGRAMA_LEASE_SECONDS: one late sign of life would "
            "cost a lease.",
            "Make it a quarter of the lease.",
            "FOTOGRAMA_HEARTBEAT_SECONDS",
        )
    if settings.public_url.startswith("http://") and "//127.0.0.1" not in settings.public_url:
        yield warn(
            SUBJECT,
            f"The page is reached by {settings.public_url}, without TLS: log-ins can be read on the way.",
            "Put TLS in front of the service, and set an https:// address.",
            "FOTOGRAMA_PUBLIC_URL",
        )
