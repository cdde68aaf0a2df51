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
    """secret_key: signs tokens and peppers passwords. demo_password: of the demonstration's account."""

    secret_key: str = field(repr=False)
    postgres_password: str = field(repr=False)
    valkey_password: str = field(repr=False)
    ray_token: str = field(repr=False)
    demo_password: str = field(repr=False)


def open_secrets(path: Path, ray_token_path: Path) -> Secrets:
    """Reads the secrets of `path`; generates and stores the missing ones. Ray reads its token from its own file."""
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found = Secrets(**{item.name: stored.get(item.name) or _generate(item.name) for item in fields(Secrets)})
    if asdict(found) != stored:
        write_private(path, json.dumps(stored | asdict(found), indent=1))
    write_private(ray_token_path, found.ray_token)
    return found


def _generate(name: str) -> str:
    # A person types the password of the demonstration.
    return secrets.token_hex(8 if name == "demo_password" else 32)


def write_private(path: Path, text: str) -> None:
    """Replaces the file atomically, with mode 0600. It is on disk when this returns."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
