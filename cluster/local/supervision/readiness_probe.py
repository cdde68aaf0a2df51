"""Asks /readyz of the API which parts are ready, and decides what follows from the answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.local.cores_and_ports import LOCALHOST
from cluster.local.supervision.fallback_server import SERVER as FALLBACK

TIMEOUT_SECONDS = 5.0
UNANSWERED_PROBES = 40
"""After so many failed probes in a row the API is dead: more than three minutes at one probe in five seconds."""


class ReadinessProbe:
    """Probes the service that listens on this port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def parts(self) -> Mapping[str, str] | None:
        """Returns the state of each part by its name, or None when the API does not answer.

        An answer of the fallback server does not count.
        """
        connection = http.client.HTTPConnection(LOCALHOST, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            body = answer.read()
            return None if (answer.getheader("Server") or "").strip() == FALLBACK else parts_of(body)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def parts_of(body: bytes) -> Mapping[str, str] | None:
    """Parses the parts from an answer of /readyz. Returns None for an answer that is not the API's."""
    try:
        return {str(name): str(state) for name, state in json.loads(body)["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def unready_parts(parts: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the parts without which the service can't be used.

    The service works without the cache. With a full store it refuses uploads only: users can still download results,
    and delete them to make room.
    """
    return {
        name: state
        for name, state in parts.items()
        if name != "cache" and state != "ok" and (name, state) != ("storage", "full")
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a probe. line: to print, or None.

    is_ready: the service can be used. schema_is_old: the database has to be migrated. is_dead: the API has not answered
    for so long that it has to be restarted, although its processes run.
    """

    line: str | None
    is_ready: bool
    schema_is_old: bool = False
    is_dead: bool = False


class ReadinessWatch:
    """Compares each probe with the one before, so that each change is printed once."""

    def __init__(self) -> None:
        self._unready: Mapping[str, str] = {}
        self._unanswered = 0

    def observe(self, parts: Mapping[str, str] | None) -> Finding:
        """Returns the outcome of a probe. parts: from /readyz; None for no answer."""
        if parts is None:
            self._unanswered += 1
            is_dead = self._unanswered >= UNANSWERED_PROBES
            if is_dead:
                self._unanswered = 0
            line = f"The API has not answered {UNANSWERED_PROBES} times in a row." if is_dead else None
            return Finding(line, is_ready=False, is_dead=is_dead)
        self._unanswered = 0
        before, self._unready = self._unready, unready_parts(parts)
        line = None
        if self._unready and self._unready != before:
            line = f"Not ready: {', '.join(f'{name} ({state})' for name, state in self._unready.items())}."
        elif before and not self._unready:
            line = "All parts are ready again."
        return Finding(line, is_ready=not self._unready, schema_is_old=self._unready.get("migrations") == "behind")
