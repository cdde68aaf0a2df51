"""Objects of other buckets and folders, from which videos are copied. They are only read."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import obstore
import structlog
from obstore.store import LocalStore, from_url

from db.values.error_catalogue import CatalogueError

SCHEMES = ("s3", "gs", "az", "file")
READ_BYTES = 4 << 20
"""What one request reads. As many objects as a replica copies at a time may each have it in memory."""
RETRY_SECONDS = 5
_REFUSALS = (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceObject:
    """size: bytes. version: the object's ETag, or else the time of its writing; another content has another one."""

    url: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Location:
    """root: URL of a bucket, or of the whole file system. path: of an object in it, or a prefix;
    no slash at its ends.

    A path is written as it is: nothing in a URL is percent-encoded.
    """

    root: str
    path: str

    @property
    def url(self) -> str:
        return f"{self.root}/{self.path}" if self.path else self.root

    def overlaps(self, other: Location) -> bool:
        """Returns whether one of the two is a prefix of the other, or both are the same."""
        own, others = f"{self.url}/", f"{other.url}/"
        return own.startswith(others) or others.startswith(own)


def location_of(url: str) -> Location:
    """Splits a URL such as s3://bucket/prefix or file:///folder. Raises CatalogueError `invalid_field`."""
    scheme, separator, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    if scheme not in SCHEMES or not separator or bool(bucket) == (scheme == "file"):
        raise CatalogueError("invalid_field", f"url: {url[:200]} is not like s3://bucket/prefix or file:///folder.")
    parts = path.strip("/").split("/")
    if path.strip("/") and not all(part.strip(".") for part in parts):
        raise CatalogueError("invalid_field", f"url: {url[:200]} has an empty part, or one of dots.")
    return Location(f"{scheme}://{bucket}", "/".join(parts))


class ObjectSources:
    """Reads with the credentials in this process's environment, as obstore finds them.

    own_url: where the service's own objects are. What overlaps with it is refused: a copy would be copied again.
    """

    def __init__(self, own_url: str | None = None) -> None:
        self._own = None if own_url is None else _own_location(own_url)
        self._stores: dict[str, Any] = {}

    async def list_page(self, url: str, after: str | None, limit: int) -> list[SourceObject]:
        """Returns at most `limit` objects below a prefix, in the order of their URLs, after the URL `after`.

        Raises CatalogueError `invalid_field` or `unavailable`.
        """
        prefix = self._location(url)
        offset = None if after is None else location_of(after).path
        with _translated(url):
            return await asyncio.to_thread(self._list_page, prefix, offset, limit)

    async def find(self, url: str) -> SourceObject:
        """Raises CatalogueError `invalid_field` or `unavailable`."""
        location = self._location(url)
        with _translated(url):
            return _source(location, await asyncio.to_thread(obstore.head, self._store(location), location.path))

    async def read(self, source: SourceObject) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of this version of the object. Raises CatalogueError `invalid_field` or `unavailable`."""
        for start in range(0, source.size, READ_BYTES):
            with _translated(source.url):
                block = await asyncio.to_thread(self._read_range, source, start)
            yield block

    def _list_page(self, prefix: Location, offset: str | None, limit: int) -> list[SourceObject]:
        store = self._store(prefix)
        pages = obstore.list(store, prefix.path or None, offset=offset, chunk_size=limit)
        if isinstance(store, LocalStore):
            # A folder of a disk has no order.
            entries = heapq.nsmallest(limit, (entry for page in pages for entry in page), key=lambda one: one["path"])
        else:
            entries = list(next(iter(pages), []))
        return [_source(Location(prefix.root, entry["path"]), entry) for entry in entries]

    def _read_range(self, source: SourceObject, start: int) -> bytes:
        location = location_of(source.url)
        end = min(source.size, start + READ_BYTES)
        found = obstore.get(self._store(location), location.path, options={"range": (start, end)})
        block = bytes(found.bytes())
        if _source(location, found.meta) != source or len(block) != end - start:
            raise CatalogueError("unavailable", f"{source.url} was written while it was read.", retry_after=1)
        return block

    def _location(self, url: str) -> Location:
        location = location_of(url)
        if self._own is not None and location.overlaps(self._own):
            raise CatalogueError("invalid_field", f"url: {url[:200]} overlaps with the service's own objects.")
        return location

    def _store(self, location: Location) -> Any:
        root = location.root
        if root not in self._stores:
            self._stores[root] = from_url(f"{root}/" if root == "file://" else root)
        return self._stores[root]


def _own_location(url: str) -> Location | None:
    """None for a URL of another form than a source has."""
    try:
        return location_of(unquote(url) if url.startswith("file:") else url)
    except CatalogueError:
        return None


def _source(location: Location, meta: Any) -> SourceObject:
    return SourceObject(location.url, meta["size"], meta["e_tag"] or meta["last_modified"].isoformat())


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise CatalogueError("invalid_field", f"url: There is nothing at {url[:200]}.") from error
    except obstore.exceptions.InvalidPathError as error:
        # obstore gives up the whole list at a key with an empty part or one of dots.
        reason = str(error).splitlines()[0].removeprefix("Encountered object with invalid path: ")
        detail = f"An object below it can't be read: {reason}. Rename it, or give prefixes that leave it out."
        raise CatalogueError("invalid_field", f"url: {detail}") from error
    except (*_REFUSALS, PermissionError) as error:
        raise CatalogueError("invalid_field", f"url: The service's API may not read {url[:200]}.") from error
    except (obstore.exceptions.BaseError, OSError) as error:
        log.warning("A source could not be read.", event_name="source.failed", detail=str(error).splitlines()[0])
        raise CatalogueError("unavailable", f"{url[:200]} can't be read now.", retry_after=RETRY_SECONDS) from error
