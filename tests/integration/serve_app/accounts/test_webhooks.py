"""Webhooks over HTTP: ownership, representation, and invalid requests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from db.notification import outbox, webhooks
from db.notification.webhook_deliveries import record
from db.notification.webhook_url_policy import Reach
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import response_schemas
from tests.support.clients.api_client import log_in, make_deps, open_client, upload_video

URL = "https://example.org/hook"


async def create_webhook(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": URL} | body)
    assert answer.status_code == 201, answer.text
    response_schemas.NewWebhook.model_validate_json(answer.content)
    webhook: dict[str, Any] = answer.json()
    return webhook


async def fail_an_extraction(client: httpx.AsyncClient, deps: Deps) -> None:
    """Accepts a video of the client's account and fails its extraction."""
    await upload_video(client)
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.FILE, code="no_video_stream", detail="There is none.", jitter=0.0
    )


async def test_webhook_secret_is_shown_once(ana: httpx.AsyncClient) -> None:
    webhook = await create_webhook(ana)
    assert webhook["secret"].startswith("whsec_")
    assert sorted(webhook["events"]) == sorted(webhooks.EVENTS)
    page = await ana.get("/v1/webhooks")
    listed = response_schemas.WebhookPage.model_validate_json(page.content)
    assert [(str(each.id), each.url, each.disabled_at) for each in listed.items] == [(webhook["id"], URL, None)]
    assert "secret" not in page.text
    assert (await create_webhook(ana))["secret"] != webhook["secret"]


async def test_webhooks_are_listed_newest_first_in_pages(ana: httpx.AsyncClient) -> None:
    ids = [(await create_webhook(ana))["id"] for _ in range(3)]
    first = (await ana.get("/v1/webhooks", params={"limit": "2"})).json()
    second = (await ana.get("/v1/webhooks", params={"limit": "2", "cursor": first["next_cursor"]})).json()
    assert [webhook["id"] for webhook in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_repeated_request_with_its_key_creates_one_webhook(ana: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = [await ana.post("/v1/webhooks", json={"url": URL}, headers=key) for _ in range(2)]
    assert (first.json(), again.headers["idempotency-replayed"]) == (again.json(), "true")
    assert len((await ana.get("/v1/webhooks")).json()["items"]) == 1
    other = await ana.post("/v1/webhooks", json={"url": URL + "2"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "ftp://example.org"},
        {"url": "http://127.0.0.1:5432/"},
        {"url": "http://169.254.169.254/latest/meta-data"},
        {"url": 3},
        {"url": URL, "events": []},
        {"url": URL, "events": ["video.deleted"]},
        {"url": URL, "secret": "mine"},
    ],
)
async def test_invalid_webhook_is_refused(ana: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await ana.post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert (await ana.get("/v1/webhooks")).json()["items"] == []


async def test_reach_setting_allows_loopback_receivers(ana: httpx.AsyncClient, deps: Deps, tmp_path: Any) -> None:
    deps_with_loopback = make_deps(deps.database, tmp_path, deps.cache, webhook_reach=Reach.LOOPBACK)
    async with open_client(create_app(deps_with_loopback)) as client:
        await log_in(client)
        await create_webhook(client, url="http://127.0.0.1:9/hook")
    deps_with_loopback.password_hasher.close()


async def test_webhooks_per_account_are_limited(ana: httpx.AsyncClient) -> None:
    created = [await create_webhook(ana) for _ in range(webhooks.MAX_WEBHOOKS)]
    refused = await ana.post("/v1/webhooks", json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_webhooks")
    assert int(refused.headers["retry-after"]) > 0
    assert (await ana.delete(f"/v1/webhooks/{created[0]['id']}")).status_code == 204
    await create_webhook(ana)


async def test_deliveries_are_listed_with_their_tries_and_redelivered(ana: httpx.AsyncClient, deps: Deps) -> None:
    webhook = await create_webhook(ana)
    await fail_an_extraction(ana, deps)
    (channel,) = set(await outbox.due_channels(deps.database, without=["email"], limit=9))
    (notification,) = await outbox.take(deps.database, channel)
    await record(deps.database, notification.id, status=503, error="The receiver answered 503.", milliseconds=12)
    await outbox.give_up(deps.database, notification, "no")
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    (delivery,) = response_schemas.DeliveryPage.model_validate_json((await ana.get(path)).content).items
    assert (delivery.id, delivery.status, delivery.due_at) == (notification.id, "given_up", None)
    assert delivery.type == "extraction.failed"
    assert [(each.status, each.milliseconds) for each in delivery.tries] == [(503, 12)]
    again = await ana.post(f"{path}/{delivery.id}/redeliver")
    assert again.status_code == 202
    assert response_schemas.Delivery.model_validate_json(again.content).status == "pending"
    (taken_again,) = await outbox.take(deps.database, channel)
    assert taken_again.id == notification.id


async def test_deliveries_are_listed_newest_first_in_pages(ana: httpx.AsyncClient, deps: Deps) -> None:
    webhook = await create_webhook(ana)
    for _ in range(3):
        await fail_an_extraction(ana, deps)
    path, seen, cursor = f"/v1/webhooks/{webhook['id']}/deliveries", [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await ana.get(path, params=query)).json()
        seen += [UUID(item["id"]) for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == 3
    assert seen == sorted(seen, reverse=True)
    assert {item.version for item in seen} == {7}


async def test_disabled_webhook_gets_no_redelivery(ana: httpx.AsyncClient, deps: Deps) -> None:
    webhook = await create_webhook(ana)
    await fail_an_extraction(ana, deps)
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    (delivery,) = (await ana.get(path)).json()["items"]
    await webhooks.disable(deps.database, UUID(webhook["id"]), UUID(delivery["extraction_id"]), "gone")
    refused = await ana.post(f"{path}/{delivery['id']}/redeliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_off")
    assert (await ana.get("/v1/webhooks")).json()["items"][0]["disabled_at"] is not None


async def test_webhook_of_another_user_is_not_found(ana: httpx.AsyncClient, deps: Deps) -> None:
    webhook = await create_webhook(ana)
    await fail_an_extraction(ana, deps)
    path = f"/v1/webhooks/{webhook['id']}"
    (delivery,) = (await ana.get(f"{path}/deliveries")).json()["items"]
    async with open_client(create_app(deps)) as bob:
        assert (await bob.get("/v1/webhooks")).status_code == 401
        await log_in(bob, "bob@example.org")
        bobs_webhook = await create_webhook(bob)
        for answer in [
            await bob.delete(path),
            await bob.get(f"{path}/deliveries"),
            await bob.post(f"{path}/deliveries/{delivery['id']}/redeliver"),
            await bob.post(f"/v1/webhooks/{bobs_webhook['id']}/deliveries/{delivery['id']}/redeliver"),
            await bob.delete(f"/v1/webhooks/{uuid7()}"),
            await bob.delete("/v1/webhooks/x"),
            await bob.post(f"/v1/webhooks/{bobs_webhook['id']}/deliveries/x/redeliver"),
        ]:
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert [item["id"] for item in (await bob.get("/v1/webhooks")).json()["items"]] == [bobs_webhook["id"]]
    assert (await ana.get(f"{path}/deliveries")).status_code == 200
