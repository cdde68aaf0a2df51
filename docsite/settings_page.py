"""`docs/reference/settings.md`, made of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from cluster.settings import MIB, Settings

_INTRO = """# Settings

The service reads environment variables. Each process reads its own. A value that can't be used ends the start with the
name of the variable.

`fotograma up` brings PostgreSQL, Valkey and a folder for the files with it, and makes the secret key. Set
`FOTOGRAMA_DATABASE_URL`, `FOTOGRAMA_REDIS_URL` or `FOTOGRAMA_OBJECTS_URL` to use a server of your own instead.
It starts a worker for each core unless `--workers` or `FOTOGRAMA_WORKERS` gives another number, and its webhooks may be
on the same machine (`FOTOGRAMA_WEBHOOK_REACH=loopback`).

What the limits do is described in [limits.md](../limits.md).
"""
_CLIENT = """## Command line and Python clients

The commands that use a service read these, and after them the file that `fotograma login` writes
(`fotograma/credentials.json` in `$XDG_CONFIG_HOME`, by default in `~/.config`).

| variable | meaning |
| --- | --- |
| `FOTOGRAMA_URL` | Address of the service. |
| `FOTOGRAMA_API_KEY` | API key or access token for it. |
| `FOTOGRAMA_PASSWORD` | Password for `fotograma login`, which asks for it otherwise. |
"""
SECTIONS = {
    "database_url": "Servers",
    "secret_key": "Accounts",
    "request_max_bytes": "Accepting",
    "workers": "Working",
}
"""Each section by its first field."""
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def settings_page() -> str:
    """The whole document, in Markdown."""
    return f"{_INTRO}{''.join(_lines())}\n{_CLIENT}"


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            yield f"\n## {SECTIONS[name]}\n\n| variable | default | meaning |\n| --- | --- | --- |\n"
        yield f"| `FOTOGRAMA_{name.upper()}` | {_default(name, field)} | {' '.join(_meaning(field))} |\n"


def _meaning(field: FieldInfo) -> Iterator[str]:
    yield " ".join((field.description or "").split())
    bounds = [
        f"{sign} {getattr(rule, bound):,}"
        for rule in field.metadata
        for bound, sign in _BOUNDS.items()
        if hasattr(rule, bound)
    ]
    if bounds:
        yield f"({', '.join(bounds)})"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.default
    if value is None:
        return "none"
    text = str(value.value if isinstance(value, Enum) else value)
    if isinstance(value, bool):
        text = text.lower()
    size = f" ({value // MIB:,} MiB)" if name.endswith("_bytes") and not value % MIB else ""
    return f"`{text}`{size}"
