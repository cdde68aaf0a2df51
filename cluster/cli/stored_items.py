"""Finds videos and extractions on a service by the ids that a user gives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.client.api_types import Extraction, Video
from cluster.client.async_client import AsyncClient
from cluster.client.errors import ApiError


async def find_items(client: AsyncClient, ids: Sequence[str]) -> list[tuple[Video, Extraction]]:
    """Returns an item for each id of a video (its newest extraction) or an extraction. Raises ApiError `not_found`."""

    async def find_item(id_: str) -> tuple[Video, Extraction]:
        try:
            video = await client.video(id_)
        except ApiError as error:
            if error.status != 404:
                raise
            extraction = await client.extraction(id_)
            return await client.video(extraction.video_id), extraction
        return video, video.extraction

    return list(await asyncio.gather(*map(find_item, ids)))
