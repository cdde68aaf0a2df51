"""Opens the object store that a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.store import from_url

from db.object_store.cloud_store import CloudStore
from db.object_store.folder_store import FolderStore
from db.object_store.object_store import ObjectStore


def open_store(url: str, spool_folder: Path | None = None) -> ObjectStore:
    """url: `file:///folder` for a folder of this machine, else any URL that obstore takes (s3://bucket/prefix …).

    spool_folder: for what a bucket has not got yet, on a disk; the system's folder of temporary files without it.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    return CloudStore(from_url(url), spool_folder)
