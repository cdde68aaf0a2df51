"""The ledger, for admins."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from db.acceptance import acceptance_audit
from db.acceptance.acceptance_audit import AccountBalance, Balance
from db.accounts.accounts import Principal
from serve_app.deps import deps_of
from serve_app.http.json_response import JsonResponse

MAX_ACCOUNTS = 1000
"""The most accounts in a response; accounts with differences come first."""


async def show(request: Request, _admin: Principal) -> Response:
    """GET /v1/admin/ledger"""
    ledger = await acceptance_audit.compare(deps_of(request).database)
    accounts = [_account(account) for account in ledger.accounts[:MAX_ACCOUNTS]]
    return JsonResponse({**_balance(ledger.total), "users": accounts, "user_count": len(ledger.accounts)})


def _account(account: AccountBalance) -> dict[str, Any]:
    return {"user_id": account.user_id, "email": account.email, **_balance(account.balance)}


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "accepted": balance.accepted,
        **{state: getattr(balance, state) for state in acceptance_audit.STATES},
        "balanced": balance.balanced,
        "difference_count": balance.difference_count,
        "differences": [difference.extraction_id for difference in balance.differences],
        "reasons": {str(difference.extraction_id): difference.why for difference in balance.differences},
    }
