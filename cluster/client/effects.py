"""The effects of API calls as values: a call is a generator of effects, and a client carries each one out.

A call (`Flow`) only decides; it uses no socket, clock or lock. So the blocking and the asyncio client can carry out the
same flows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cluster.client.api_types import Extraction
    from cluster.client.live.live_extractions import LiveExtractions

T = TypeVar("T")

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Body(Protocol):
    """A request body that can be read again from its beginning."""

    @property
    def content_type(self) -> str: ...

    @property
    def length(self) -> int:
        """Bytes."""

    def chunks(self) -> Iterator[bytes]: ...


class ContentSink(Protocol):
    """Receives the content of a download, which may arrive in several responses."""

    @property
    def size(self) -> int:
        """Bytes that have arrived."""

    def headers(self) -> Mapping[str, str]:
        """Returns the request headers: they ask for the rest."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Reads the head of a response, 200 or 206."""

    def write(self, chunk: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """path: below the base URL. body: JSON text, or a `Body` that is streamed.

    repeatable: whether the request has the same effect when it is sent twice.
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
    """headers: names in lower case. content: the body, empty when it went into a `ContentSink`. tries:
    requests sent.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    tries: int = 1


class ConnectionLost(Exception):
    """No complete response arrived. unsent: the server can't have seen the request."""

    def __init__(self, reason: str, *, unsent: bool) -> None:
        super().__init__(reason)
        self.unsent = unsent


@dataclass(frozen=True, slots=True)
class Send:
    """→ Reply, or raises ConnectionLost. into: receives the content of a 200 or 206."""

    request: Request
    into: ContentSink | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """→ None, `seconds` later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForNews:
    """→ None when `live` has a newer state of the extraction or another epoch; `seconds` later at the latest.

    The client keeps a stream of events open for it.
    """

    live: LiveExtractions
    extraction: Extraction
    epoch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunInThread:
    """→ the result of `call`. It may block on the disk, so the asyncio client runs it in a thread."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class RunExclusively:
    """→ the result of `flow`. One such flow runs at a time, for a client and all clients that share its token store."""

    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class RunConcurrently:
    """→ a list with the outcome of each flow: its result, or the exception that ended it. After an exception no further
    flow begins; the outcome of those is None.

    Up to `max_concurrent` flows run at a time: as tasks of the asyncio client, as threads of the blocking one.
    """

    flows: Sequence[Flow[Any]]
    max_concurrent: int


@dataclass(frozen=True, eq=False)
class Slots:
    """Flows that hold one of these slots run at the same time, `max_concurrent` at most."""

    max_concurrent: int


@dataclass(frozen=True, slots=True)
class RunInSlot:
    """→ the result of `flow`, which begins when one of the slots is free."""

    slots: Slots
    flow: Flow[Any]


Effect: TypeAlias = Send | Sleep | WaitForNews | RunInThread | RunExclusively | RunConcurrently | RunInSlot
Flow: TypeAlias = Generator[Effect, Any, T]
