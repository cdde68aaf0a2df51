"""Webhooks through the SDK, the command line and maintenance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from cluster.client.errors import FotogramaError
from cluster.wiring import maintenance as wiring
from db.queue import task_queue
from db.values.lifecycle import Blame
from fotograma import ApiError, AsyncClient, Client
from serve_app.deps import Deps
from tests.integration.cluster.test_cli_ops import OperatorShell, shell
from tests.integration.cluster.test_client_with_service import ana, url
from tests.support.clients import api_client
from tests.support.servers.webhook_receiver import run_webhook_receiver

__all__ = ["ana", "shell", "url"]

URL = "https://example.org/hook"


async def fail_an_extraction(ana: AsyncClient, deps: Deps, clip: Path) -> str:
    """Uploads a clip and fails its extraction; returns the extraction's id."""
    clip.write_bytes(api_client.MP4)
    video = await ana.upload(clip)
    (claim,) = await task_queue.claim(deps.database, worker="w")
    error: dict[str, Any] = {"code": "no_video_stream", "detail": "There is none.", "jitter": 0.0}
    await task_queue.fail(deps.database, claim.lease, blame=Blame.FILE, **error)
    return video.extraction.id


async def test_webhooks_are_added_listed_and_removed(ana: AsyncClient, deps: Deps, tmp_path: Path) -> None:
    webhook = await ana.add_webhook(URL, ["extraction.failed"])
    assert webhook.secret is not None
    assert webhook.secret not in repr(webhook)
    (listed,) = await ana.webhooks()
    assert (listed.id, listed.url, listed.events, listed.secret) == (webhook.id, URL, ("extraction.failed",), None)
    extraction_id = await fail_an_extraction(ana, deps, tmp_path / "clip.mp4")
    (delivery,) = await ana.deliveries(webhook)
    assert (delivery.extraction_id, delivery.status, delivery.tries) == (extraction_id, "pending", ())
    assert (await ana.redeliver(webhook, delivery)).id == delivery.id
    await ana.delete_webhook(webhook)
    assert await ana.webhooks() == ()
    with pytest.raises(ApiError, match="not_found"):
        await ana.delete_webhook(webhook)


async def test_blocking_client_adds_lists_and_removes_webhooks(
    ana: AsyncClient, deps: Deps, url: str, tmp_path: Path
) -> None:
    assert ana.tokens is not None
    with Client(url, ana.tokens.access_token) as client:
        webhook = await asyncio.to_thread(client.add_webhook, URL)
        await fail_an_extraction(ana, deps, tmp_path / "clip.mp4")
        (delivery,) = await asyncio.to_thread(client.deliveries, webhook)
        assert (await asyncio.to_thread(client.redeliver, webhook, delivery)).id == delivery.id
        assert [each.id for each in await asyncio.to_thread(client.webhooks)] == [webhook.id]
        await asyncio.to_thread(client.delete_webhook, webhook)


async def test_webhook_limit_is_an_error_without_a_retry(ana: AsyncClient) -> None:
    for _ in range(10):
        await ana.add_webhook(URL)
    async with asyncio.timeout(10):
        with pytest.raises(FotogramaError, match="10 webhooks"):
            await ana.add_webhook(URL)


async def test_webhooks_from_the_command_line(shell: OperatorShell, deps: Deps) -> None:
    added = await shell.run("webhooks", "add", URL, "--event", "extraction.failed")
    assert added.returncode == 0, added.stderr
    webhook_id, *_ = added.stdout.split()
    assert "Secret: whsec_" in added.stdout
    listed = await shell.run("webhooks", "list")
    assert listed.stdout.split() == [webhook_id, "on", URL, "extraction.failed"]
    await api_client.upload_video(shell.http)
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.FILE, code="no_video_stream", detail="None.", jitter=0.0
    )
    deliveries = await shell.run("webhooks", "deliveries", webhook_id)
    delivery_id, *fields = deliveries.stdout.split()
    assert fields == ["pending", "extraction.failed", str(claim.extraction_id)]
    assert (await shell.run("webhooks", "redeliver", webhook_id, delivery_id)).returncode == 0
    assert (await shell.run("webhooks", "delete", webhook_id)).returncode == 0
    assert (await shell.run("webhooks", "list")).stdout == ""


async def test_maintenance_notifies_webhooks_and_the_stream_by_its_settings(
    ana: AsyncClient,
    deps: Deps,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object.__setattr__(deps, "webhook_reach", "loopback")
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OBJECTS_URL": f"file://{tmp_path}/objects",
        "SECRET_KEY": api_client.SECRET,
        "WEBHOOK_REACH": "loopback",
        "EVENTS_STREAM": "elsewhere:events",
    }.items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)
    monkeypatch.setattr(wiring, "log_as_json", lambda: None)
    async with (
        run_webhook_receiver() as receiver,
        wiring.open_maintenance() as maintenance,
        Redis.from_url(redis_url) as redis,
    ):
        webhook = await ana.add_webhook(receiver.url)
        assert webhook.secret is not None
        extraction_id = await fail_an_extraction(ana, deps, tmp_path / "clip.mp4")
        maintenance_run = asyncio.create_task(maintenance.run())
        try:
            async with asyncio.timeout(60):
                await receiver.arrived.wait()
                while (await ana.deliveries(webhook))[0].status != "delivered":
                    await asyncio.sleep(0.05)
                # The events: accepted, claimed, failed, and one notified event for each of the two channels.
                while await redis.xlen("elsewhere:events") < 5:
                    await asyncio.sleep(0.05)
        finally:
            maintenance_run.cancel()
            await asyncio.wait({maintenance_run})
        (message,) = receiver.verified(webhook.secret)
        assert message["data"]["extraction"]["id"] == extraction_id
