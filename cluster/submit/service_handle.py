"""The service as other code in the cluster calls it: by a Serve handle to the replicas of the API."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, Self

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.client.api_types import Extraction, Page, Status, Video
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.authorized_requests import Session, anonymous
from cluster.client.calls.extraction_calls import POLL_FIRST_SECONDS, POLL_GROWTH, POLL_MAX_SECONDS
from cluster.client.credentials.token_store import TokenStore
from cluster.client.effects import ConnectionLost, Reply, Request, Send
from cluster.client.errors import ConnectionFailed, DownloadCorrupt, ExtractionFailed, WaitTimeout
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.json_decoding import decode
from cluster.client.retry_policy import RetryPolicy
from cluster.submit.prefix_ingest import Submission

API_APPLICATION = "api"
WHERE = "The API in the cluster"


class ServiceHandle(AsyncFlowRunner):
    """Fotograma by a Serve handle, for code that runs in the same Ray cluster: a task, an actor, a job.

    account: the e-mail of the account that owns the videos. It must exist; nobody logs in, because whoever runs code in
    the cluster is an operator of it. retry: how long calls are repeated. They are all safe to repeat.

    Every method raises ApiError for what the service refuses, with the codes of the HTTP API, and ConnectionFailed.
    """

    def __init__(self, account: str, handle: Any, retry: RetryPolicy | None = None) -> None:
        self._account, self._handle, self._sleep = account, handle, asyncio.sleep
        self._session = Session(WHERE, TokenStore(), retry or RetryPolicy())

    @classmethod
    def connect(cls, account: str, retry: RetryPolicy | None = None) -> Self:
        """Connects to the cluster of this process, or of RAY_ADDRESS. Raises ConnectionFailed."""
        try:
            if not ray.is_initialized():
                # With "auto" alone Ray may find another cluster on the same machine.
                ray.init(os.environ.get("RAY_ADDRESS") or "auto", log_to_driver=False, logging_level=logging.WARNING)
            return cls(account, serve.get_app_handle(API_APPLICATION), retry)
        except (ConnectionError, RayError, RayServeException) as error:
            raise ConnectionFailed(WHERE, str(error)) from error

    async def check(self, spec: Spec | None = None) -> None:
        """Raises ApiError when there is no such account, or when the specification is wrong."""
        await self._ask("check", account=self._account, spec=_optional_text(spec))

    async def list_sources(self, url: str, after: str | None = None) -> list[str]:
        """Returns the URLs of the next objects below a prefix of a bucket; an empty list after the last one."""
        return decode(list[str], await self._ask("list_sources", url=url, after=after))

    async def submit(self, url: str, spec: Spec | None = None) -> Submission:
        """Submits the object at `url` (s3://, gs://, az:// or file://): the API copies it, and queues its extraction.

        The same object with the same specification is submitted once, as long as its video is stored and the object is
        not written again. The API's credentials must be good for the bucket.
        """
        reply = await self._reply("submit", account=self._account, url=url, spec=_optional_text(spec))
        (video,) = decode(Page[Video], reply.content).items
        return Submission(video, "idempotency-replayed" in reply.headers)

    async def extraction(self, extraction_id: str) -> Extraction:
        """Returns the present state of an extraction of the account."""
        return decode(
            Extraction, await self._ask("show_extraction", account=self._account, extraction_id=extraction_id)
        )

    async def wait(self, extraction: Extraction | str, timeout_seconds: float | None = None) -> Extraction:
        """Returns the extraction when it has succeeded. Also raises ExtractionFailed and WaitTimeout."""
        extraction_id = extraction if isinstance(extraction, str) else extraction.id
        started_at, interval = time.monotonic(), POLL_FIRST_SECONDS
        while not (latest := await self.extraction(extraction_id)).status.ended:
            if timeout_seconds is not None and time.monotonic() - started_at >= timeout_seconds:
                raise WaitTimeout(latest, timeout_seconds)
            await asyncio.sleep(interval)
            interval = min(interval * POLL_GROWTH, POLL_MAX_SECONDS)
        if latest.status is not Status.SUCCEEDED:
            raise ExtractionFailed(latest)
        return latest

    async def download(self, extraction: Extraction, path: Path) -> Path:
        """Writes the archive of an extraction that has succeeded to `path`. Also raises DownloadCorrupt and OSError."""
        assert extraction.result is not None, "the extraction has not succeeded"
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            while size < extraction.result.bytes:
                arguments = {"account": self._account, "extraction_id": extraction.id, "start": size}
                block = await self._ask("read_archive", **arguments)
                if not block:
                    break
                await asyncio.to_thread(file.write, block)
                digest.update(block)
                size += len(block)
        if digest.hexdigest() != extraction.result.sha256:
            await asyncio.to_thread(path.unlink)
            raise DownloadCorrupt(path, extraction.result.sha256, digest.hexdigest())
        return path

    async def _ask(self, name: str, **arguments: Any) -> bytes:
        return (await self._reply(name, **arguments)).content

    async def _reply(self, name: str, **arguments: Any) -> Reply:
        request = Request("POST", name, body=json.dumps(arguments).encode(), repeatable=True)
        return await self._run(anonymous(self._session, request))

    async def _send(self, send: Send) -> Reply:
        assert isinstance(send.request.body, bytes)
        try:
            return Reply(*await self._handle.call.remote(send.request.path, json.loads(send.request.body)))
        except (RayError, RayServeException) as error:
            # A replica that dies takes its calls with it.
            raise ConnectionLost(f"{type(error).__name__}: {error}", unsent=False) from error


def _optional_text(spec: Spec | None) -> str | None:
    return None if spec is None else spec_text(spec)
