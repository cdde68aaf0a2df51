"""The ledger and the time line over HTTP: permissions and content."""

from __future__ import annotations

import httpx

from db.accounts import accounts
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import response_schemas
from tests.support.clients.api_client import log_in, open_client, upload_video
from tests.support.state import database_rows


async def test_ledger_is_readable_by_admins_only_from_the_next_request_on(ana: httpx.AsyncClient, deps: Deps) -> None:
    async with open_client(create_app(deps)) as visitor:
        assert (await visitor.get("/v1/admin/ledger")).status_code == 401
    refused = await ana.get("/v1/admin/ledger")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert await accounts.set_role(deps.database, "ana@example.org", "admin") is not None
    await upload_video(ana)
    answer = await ana.get("/v1/admin/ledger")
    ledger = response_schemas.Ledger.model_validate_json(answer.content)
    assert (ledger.accepted, ledger.queued, ledger.balanced, ledger.differences) == (1, 1, True, [])
    assert [(user.email, user.accepted) for user in ledger.users] == [("ana@example.org", 1)]
    await accounts.set_role(deps.database, "ana@example.org", "user")
    assert (await ana.get("/v1/admin/ledger")).status_code == 404


async def test_ledger_names_missing_extractions(ana: httpx.AsyncClient, deps: Deps) -> None:
    await accounts.set_role(deps.database, "ana@example.org", "admin")
    lost = (await upload_video(ana))["extraction"]["id"]
    await database_rows.execute(deps.database, "DELETE FROM extractions")
    ledger = (await ana.get("/v1/admin/ledger")).json()
    assert (ledger["balanced"], ledger["differences"], ledger["reasons"]) == (False, [lost], {lost: "lost"})


async def test_role_of_an_unknown_account_cannot_be_set(deps: Deps) -> None:
    assert await accounts.set_role(deps.database, "nobody@example.org", "admin") is None


async def test_time_line_has_events_with_their_faults(ana: httpx.AsyncClient, deps: Deps) -> None:
    extraction_id = (await upload_video(ana))["extraction"]["id"]
    (claim,) = await task_queue.claim(deps.database, worker="host-7:abc")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.CRASH, code="gave_up", detail="The decoder crashed.", jitter=0.0
    )
    (claim,) = await task_queue.claim(deps.database, worker="host-7:abc")
    internal_detail = "connection to 10.0.0.3 refused"
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.SERVICE, code="unavailable", detail=internal_detail, jitter=0.0
    )
    answer = await ana.get(f"/v1/extractions/{extraction_id}/timeline")
    response_schemas.Timeline.model_validate_json(answer.content)
    items = answer.json()["items"]
    assert [item["kind"] for item in items] == ["accepted", "claimed", "retried", "claimed", "retried"]
    assert (items[2]["blame"], items[2]["detail"], items[2]["attempt"]) == ("crash", "The decoder crashed.", 1)
    assert items[4]["blame"] == "service"
    assert "10.0.0.3" not in answer.text
    assert "host-7" not in answer.text


async def test_time_line_is_paged(ana: httpx.AsyncClient, deps: Deps) -> None:
    extraction_id = (await upload_video(ana))["extraction"]["id"]
    for _ in range(3):
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.release(deps.database, claim.lease)
    path, kinds, cursor = f"/v1/extractions/{extraction_id}/timeline", [], None
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await ana.get(path, params=query)).json()
        assert len(page["items"]) <= 3
        kinds += [item["kind"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert kinds == ["accepted", *["claimed", "released"] * 3]
    for query in ({"cursor": "x"}, {"limit": "0"}, {"limit": "201"}, {"more": "1"}):
        assert (await ana.get(path, params=query)).status_code == 422


async def test_time_line_of_another_user_is_not_found(ana: httpx.AsyncClient, deps: Deps) -> None:
    extraction_id = (await upload_video(ana))["extraction"]["id"]
    async with open_client(create_app(deps)) as visitor:
        await log_in(visitor, "bob@example.org")
        assert (await visitor.get(f"/v1/extractions/{extraction_id}/timeline")).status_code == 404
        assert (await visitor.get("/v1/extractions/x/timeline")).status_code == 404
