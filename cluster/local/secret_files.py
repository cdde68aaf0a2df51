"""The secrets of a data directory: generated once, stored in files that only their owner can read, never printed."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Secrets:
    """secret_key: signs tokens and peppers passwords. demo_password: of the account that `--demo` makes."""

    secret_key: str = field(repr=False)
    postgres_password: str = field(repr=False)
    valkey_password: str = field(repr=False)
    ray_token: str = field(repr=False)
    demo_password: str = field(repr=False)


def open_secrets(path: Path, ray_token_path: Path) -> Secrets:
    """Reads the secrets of `path`; what is missing is made and kept. Ray reads its token from a file of its own."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    made = Secrets(**{item.name: kept.get(item.name) or _make(item.name) for item in fields(Secrets)})
    if asdict(made) != kept:
        write_private(path, json.dumps(kept | asdict(made), indent=1))
    write_private(ray_token_path, made.ray_token)
    return made


def _make(name: str) -> str:
    # The demonstration's is typed by a person.
    return secrets.token_hex(8 if name == "demo_password" else 32)


def write_private(path: Path, text: str) -> None:
    """Replaces the file as a whole, mode 0600, on disk when this returns."""
    made = path.with_name(f".{path.name}.new")
    made.unlink(missing_ok=True)
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
