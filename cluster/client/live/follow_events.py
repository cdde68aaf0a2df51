"""The stream of events of a client as a flow. It connects again by itself, while anybody follows an extraction."""

from __future__ import annotations

from dataclasses import replace

from cluster.client.authorized_requests import Session, authorized
from cluster.client.effects import Flow, Request, Sleep
from cluster.client.errors import ApiError, FotogramaError
from cluster.client.live.live_extractions import EventSink, NobodyFollows

EVENTS = "/v1/events"
RECONNECT_SECONDS = 1.0
MAX_RECONNECT_SECONDS = 20.0
_NO_SUCH_ROUTE = frozenset({404, 405, 501})


def is_offered(session: Session) -> Flow[bool]:
    """Whether the server has a stream of events. An older one has none, and then the client polls."""
    live = session.live
    if live.is_offered is None:
        try:
            yield from authorized(_without_retries(session), Request("HEAD", EVENTS))
            live.is_offered = True
        except ApiError as error:
            if error.status in _NO_SUCH_ROUTE:
                live.is_offered = False
        except FotogramaError:
            # The service can't be reached, and is asked again later.
            pass
    return bool(live.is_offered)


def follow_events(session: Session) -> Flow[None]:
    """Tells `session.live` what the stream says, until nobody follows an extraction."""
    live, sink, failures = session.live, EventSink(session.live), 0
    while live.is_followed:
        sink.size, least_seconds = 0, 0.0
        try:
            yield from authorized(_without_retries(session), Request("GET", EVENTS), sink)
        except NobodyFollows:
            return
        except (FotogramaError, OSError) as error:
            # Whoever waits polls meanwhile, and raises what can't be mended.
            least_seconds = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
        finally:
            live.change_open(False)
        failures = 0 if sink.size else failures + 1
        bound = min(MAX_RECONNECT_SECONDS, RECONNECT_SECONDS * 2.0 ** min(failures, 8))
        yield Sleep(least_seconds + bound * (0.5 + session.random() / 2))


def _without_retries(session: Session) -> Session:
    return replace(session, policy=replace(session.policy, attempts=1))
