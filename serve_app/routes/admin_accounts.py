"""Accounts as admins see them: list, show, give quotas of their own, disable and enable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from db.acceptance import quotas
from db.acceptance.quotas import AccountLimits, Quotas
from db.accounts import accounts
from db.accounts.accounts import Account, Principal
from db.run_to_completion import run_to_completion
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body, pagination
from serve_app.http.json_response import JsonResponse
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id

MAX_BYTES = 2**53 - 1
"""The largest number of bytes that every JSON reader keeps exactly."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]

log = structlog.get_logger(__name__)


class AccountQuery(PageQuery):
    """q: what the e-mail or the name contains."""

    q: str | None = Field(None, max_length=254)


class OwnQuotas(json_request_body.RequestModel):
    """Quotas of one account, instead of those of the service. They are given as a whole; null: no limit."""

    waiting: Count | None
    stored_bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)] | None
    minutes_per_day: Count | None


class AccountChanges(json_request_body.RequestModel):
    """What is left out stays as it is. quotas: null takes the account's own quotas away, and those of the service hold
    again.
    """

    quotas: OwnQuotas | None = None
    disabled: bool | None = None


async def list_accounts(request: Request, _admin: Principal) -> Response:
    """GET /v1/admin/users"""
    deps, query = deps_of(request), pagination.read_query(AccountQuery, request)
    found = await accounts.list_accounts(
        deps.database, limit=query.limit + 1, before=query.before, words=pagination.words_of(query.q)
    )
    page, next_cursor = pagination.paginate(found, query.limit, lambda account: pagination.encode_cursor(account.id))
    return JsonResponse({"items": await _accounts_json(deps, page), "next_cursor": next_cursor})


async def show(request: Request, _admin: Principal) -> Response:
    """GET /v1/admin/users/{id}"""
    return await _respond(deps_of(request), path_id(request))


async def change(request: Request, admin: Principal) -> Response:
    """PATCH /v1/admin/users/{id}"""
    deps, user_id = deps_of(request), path_id(request)
    changes = await json_request_body.read_model(request, AccountChanges)
    if changes.disabled and user_id == admin.user_id:
        raise CatalogueError("invalid_field", "disabled: An admin can't disable the own account.")
    await run_to_completion(_change(deps, user_id, changes))
    _log_changes(user_id, admin, changes)
    return await _respond(deps, user_id)


async def _change(deps: Deps, user_id: UUID, changes: AccountChanges) -> None:
    async with deps.database.begin() as connection:
        if not await accounts.lock(connection, user_id):
            raise CatalogueError("not_found")
        if "quotas" in changes.model_fields_set:
            own = None if changes.quotas is None else Quotas(**changes.quotas.model_dump())
            await quotas.set_own(connection, user_id, own)
        if changes.disabled is not None:
            await accounts.set_disabled(connection, user_id, disabled=changes.disabled)


def _log_changes(user_id: UUID, admin: Principal, changes: AccountChanges) -> None:
    ids = {"user_id": str(user_id), "admin_id": str(admin.user_id)}
    if "quotas" in changes.model_fields_set:
        log.info("An admin changed the quotas of an account.", event_name="account.quotas_changed", **ids)
    if changes.disabled is not None:
        verb = "disabled" if changes.disabled else "enabled"
        log.info(
            f"An admin {verb} an account.",
            event_name="account.disabled" if changes.disabled else "account.enabled",
            **ids,
        )


async def _respond(deps: Deps, user_id: UUID) -> Response:
    account = await accounts.get(deps.database, user_id)
    if account is None:
        raise CatalogueError("not_found")
    return JsonResponse((await _accounts_json(deps, [account]))[0])


async def _accounts_json(deps: Deps, found: Sequence[Account]) -> list[dict[str, Any]]:
    limits = await quotas.account_limits(deps.database, [account.id for account in found], deps.limits.quotas)
    return [_account_json(account, limits[account.id]) for account in found]


def _account_json(account: Account, limits: AccountLimits) -> dict[str, Any]:
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "created_at": account.created_at,
        "disabled_at": account.disabled_at,
        "quotas": asdict(limits.quotas),
        "has_own_quotas": limits.is_own,
        "use": asdict(limits.usage),
    }
