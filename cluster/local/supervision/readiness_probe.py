"""What the API says of itself at /readyz, and what follows from it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.local.cores_and_ports import LOCALHOST

TIMEOUT_SECONDS = 5.0
UNANSWERED_PROBES = 40
"""So many in a row, and the API counts as dead: more than three minutes, when one comes every five seconds."""


class ReadinessProbe:
    """Asks /readyz of the service that listens on this port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def parts(self) -> Mapping[str, str] | None:
        """The state of each part by its name; None when the API gives no answer."""
        connection = http.client.HTTPConnection(LOCALHOST, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return parts_of(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def parts_of(body: bytes) -> Mapping[str, str] | None:
    """The parts that an answer of /readyz tells; None for one that is not the API's."""
    try:
        return {str(name): str(state) for name, state in json.loads(body)["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def unready_parts(parts: Mapping[str, str]) -> Mapping[str, str]:
    """The parts that keep the service from being of use.

    The cache is not needed. A full store refuses uploads until there is room; what is there can be had, or deleted to
    make room.
    """
    return {
        name: state
        for name, state in parts.items()
        if name != "cache" and state != "ok" and (name, state) != ("storage", "full")
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at the running service found. line: to be said, or None.

    is_ready: it can be used. schema_is_old: the database has to be migrated. is_dead: nobody has answered for so long
    that the API has to be started again, although its processes live.
    """

    line: str | None
    is_ready: bool
    schema_is_old: bool = False
    is_dead: bool = False


class ReadinessWatch:
    """Follows what is unfit, so that each change is said once."""

    def __init__(self) -> None:
        self._unready: Mapping[str, str] = {}
        self._unanswered = 0

    def observe(self, parts: Mapping[str, str] | None) -> Finding:
        """parts: by /readyz; None for no answer."""
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
            line = "All parts are there again."
        return Finding(line, is_ready=not self._unready, schema_is_old=self._unready.get("migrations") == "behind")
