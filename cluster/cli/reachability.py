"""Says soon when the service can't be reached: the clients repeat their requests for long, and silently."""

from __future__ import annotations

import socket
from datetime import timedelta
from urllib.parse import urlsplit

import typer

PROBE_SECONDS = 1.5
_PORTS = {"http": 80, "https": 443}


def say_when_unreachable(url: str, patience_seconds: float) -> str | None:
    """Prints a line when no connection to the service can be opened, and returns the reason.

    patience_seconds: how long it is tried then.
    """
    reason = unreachable_reason(url)
    if reason is not None:
        line = f"{url} can't be reached: {reason}. It is tried for {duration_text(patience_seconds)}; Ctrl-C stops."
        typer.echo(line, err=True)
    return reason


def unreachable_reason(url: str) -> str | None:
    """Returns why no connection can be opened; None when it can, or when a proxy stands between.

    It takes at most PROBE_SECONDS for each address of the host, and asks nothing of the service.
    """
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    parts = urlsplit(url)
    host = parts.hostname or ""
    if (parts.scheme in getproxies() or "all" in getproxies()) and not proxy_bypass(host) and host not in _OWN_HOSTS:
        return None
    try:
        socket.create_connection((host, parts.port or _PORTS[parts.scheme]), timeout=PROBE_SECONDS).close()
    except TimeoutError:
        return f"no answer in {PROBE_SECONDS:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


_OWN_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""The clients use no proxy for these."""


def duration_text(seconds: float) -> str:
    """Returns a duration as a person says it: `10 s`, `15 minutes`."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{timedelta(seconds=seconds) // timedelta(minutes=1)} minutes"
