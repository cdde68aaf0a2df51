"""What a call needs from the world, as values: calls are generators of these, and a shell carries each one out.

A call (`Flow`) decides; it never touches a socket, a clock or a lock. The blocking and the asynchronous client are two
ways of carrying out the same flows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cluster.client.resumable_download import ResumableDownload

T = TypeVar("T")

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Body(Protocol):
    """A body that can be read any number of times, from its beginning."""

    @property
    def content_type(self) -> str: ...

    @property
    def length(self) -> int:
        """Bytes."""

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """path: under the base address. body: JSON text, or a `Body` that is streamed.

    repeatable: whether sending it twice does no more than sending it once.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    repeatable: bool = False

    def __post_init__(self) -> None:
        if self.method in _IDEMPOTENT or "Idempotency-Key" in self.headers:
            object.__setattr__(self, "repeatable", True)

    def with_header(self, name: str, value: str) -> Request:
        return replace(self, headers={**self.headers, name: value})


@dataclass(frozen=True, slots=True)
class Reply:
    """headers: names in lower case. content: the body, empty when it went into a `ResumableDownload`. tries:
    requests sent.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    tries: int = 1


class ConnectionLost(Exception):
    """No whole answer came. unsent: the server can't have seen the request."""

    def __init__(self, reason: str, *, unsent: bool) -> None:
        super().__init__(reason)
        self.unsent = unsent


@dataclass(frozen=True, slots=True)
class Send:
    """→ Reply, or raises Lost. into: where the content of a 200 or 206 goes while it arrives."""

    request: Request
    into: ResumableDownload | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """→ None, `seconds` later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RunInThread:
    """→ what `call` gives. It may block on the disk, so an event loop runs it in a thread."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class RunExclusively:
    """→ what `flow` gives; at most one such flow of a client (and of those that share its store) runs at a time."""

    flow: Flow[Any]


Effect: TypeAlias = Send | Sleep | RunInThread | RunExclusively
Flow: TypeAlias = Generator[Effect, Any, T]
