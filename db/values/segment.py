"""A segment: what of a long video's plan one task carries out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from db.values.media_info import Count


@dataclass(frozen=True, slots=True)
class Segment:
    """The plan's targets at the places [first, stop), in time order.

    number: from 0, in time order. cost: frames to decode for them.
    """

    number: Count
    first: Count
    stop: Count
    cost: Count
