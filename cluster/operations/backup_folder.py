"""The folder of a backup: the dump, the manifest of objects, what it was made of, and the objects if they were copied.

database.dump    of pg_dump, in its custom format
manifest.jsonl   one object in each line: key, size, and the SHA-256 where it is known
backup.json      written last: a folder without it is no whole backup
objects/         the objects by their keys, if they were copied
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.operations.operation_errors import OperationError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One object that the dump needs."""

    key: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """schema: the revision of the dump. key_fingerprint: of FOTOGRAMA_SECRET_KEY; None when it was not known. missing:
    keys, or prefixes that end with a slash, to which rows refer and which the store did not have, or only damaged.
    """

    format: int
    created_at: str
    fotograma: str
    schema: str
    postgres: str
    dump_sha256: str
    manifest_sha256: str
    objects: int
    bytes: int
    has_objects: bool
    key_fingerprint: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupFolder:
    path: Path

    @property
    def dump(self) -> Path:
        return self.path / "database.dump"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.jsonl"

    @property
    def facts(self) -> Path:
        return self.path / "backup.json"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def create(self) -> None:
        """Makes the folder, for its owner alone: a dump holds the accounts. Raises OperationError if it has files."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(self.path.iterdir()):
            raise OperationError(f"{self.path} is not empty. Choose a new folder for each backup.")

    def write_facts(self, facts: BackupFacts) -> None:
        """Marks the backup as whole. Everything else is on the disk before."""
        for path in (self.dump, self.manifest):
            sync(path)
        temporary = self.facts.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(facts), indent=2) + "\n")
        sync(temporary)
        temporary.rename(self.facts)

    def read_facts(self) -> BackupFacts:
        """Checks that the backup is whole and unchanged. Raises OperationError."""
        try:
            stored: dict[str, Any] = json.loads(self.facts.read_text())
            facts = BackupFacts(**stored | {"missing": tuple(stored["missing"])})
        except FileNotFoundError as error:
            raise OperationError(f"{self.path} holds no whole backup: backup.json is missing.") from error
        except (ValueError, TypeError, KeyError) as error:
            raise OperationError(f"{self.facts} can't be read; another version of fotograma made it.") from error
        if facts.format != FORMAT:
            raise OperationError(f"{self.path} has the format {facts.format}; this fotograma reads {FORMAT}.")
        for path, sha256 in ((self.dump, facts.dump_sha256), (self.manifest, facts.manifest_sha256)):
            if not path.exists() or file_sha256(path) != sha256:
                raise OperationError(f"{path} is damaged: backup.json has another SHA-256. Use another backup.")
        return facts

    def entries(self) -> Iterator[ManifestEntry]:
        """The objects of the manifest."""
        with self.manifest.open() as file:
            for line in file:
                yield ManifestEntry(**json.loads(line))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_fingerprint(secret_key: str | None) -> str | None:
    """Tells two secret keys apart, and nothing about either."""
    return None if not secret_key else hashlib.sha256(b"fotograma backup\0" + secret_key.encode()).hexdigest()[:16]


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
