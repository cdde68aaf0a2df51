"""The calls for the account, its sessions and its API keys as flows."""

from __future__ import annotations

from pathlib import Path

from cluster.client.account_types import Account, ApiKey, Ledger, NotifyChoice
from cluster.client.api_types import Page, Tokens
from cluster.client.authorized_requests import (
    BAD_CREDENTIALS,
    Session,
    anonymous,
    authorized,
    delete_once,
    json_request,
    renew_tokens,
)
from cluster.client.calls.lists import all_pages
from cluster.client.calls.resource_paths import path_segment
from cluster.client.effects import Flow, Request, RunExclusively, RunInThread
from cluster.client.errors import ApiError
from cluster.client.json_decoding import decode
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.resumable_download import OnReceived, ResumableDownload

_API_KEYS = "/v1/api-keys"


def register(session: Session, email: str, password: str, name: str | None, locale: str | None) -> Flow[Account]:
    fields = {"email": email, "password": password, "name": name, "locale": locale}
    body = {field: value for field, value in fields.items() if value is not None}
    reply = yield from anonymous(session, json_request("POST", "/v1/users", body))
    return decode(Account, reply.content)


def login(session: Session, email: str, password: str) -> Flow[Tokens]:
    fields = {"email": email, "password": password}
    # Repeatable: a session whose tokens were lost does no harm and expires.
    reply = yield from anonymous(session, json_request("POST", "/v1/tokens", fields, repeatable=True))
    tokens = decode(Tokens, reply.content)
    session.store.begin(tokens)
    return tokens


def refresh(session: Session) -> Flow[Tokens | None]:
    yield RunExclusively(renew_tokens(session, session.store.tokens))
    return session.store.tokens


def logout(session: Session) -> Flow[None]:
    """Ends the session. A session that has ended already is no error."""
    if session.store.tokens is None:
        return
    try:
        yield from authorized(session, Request("DELETE", "/v1/tokens"))
    except ApiError as error:
        if error.status != 401:
            raise
    _forget_tokens(session)


def me(session: Session) -> Flow[Account]:
    reply = yield from authorized(session, Request("GET", "/v1/me"))
    return decode(Account, reply.content)


def update_account(
    session: Session, name: str | None, locale: str | None, notify: NotifyChoice | None
) -> Flow[Account]:
    fields = {"name": name, "locale": locale, "notify": notify}
    body = {field: value for field, value in fields.items() if value is not None}
    reply = yield from authorized(session, json_request("PATCH", "/v1/me", body, repeatable=True))
    return decode(Account, reply.content)


def change_password(session: Session, current: str, new: str) -> Flow[None]:
    yield from authorized(session, json_request("POST", "/v1/me/password", {"current": current, "new": new}))


def export_account(session: Session, path: AnyPath, on_received: OnReceived | None) -> Flow[Path]:
    """Writes the export of the account to the file `path`, whole or not at all.

    Begins anew after a broken connection.
    """
    with ResumableDownload(Path(path), on_received) as received:
        yield from authorized(session, Request("GET", "/v1/me/export"), received)
        export: Path = yield RunInThread(lambda: received.finish(None))
        return export


def delete_account(session: Session, password: str) -> Flow[None]:
    """The tokens are forgotten with it."""
    # Renews the tokens if they have expired. Otherwise the session can only have ended by the erasure.
    yield from me(session)
    try:
        yield from authorized(session, json_request("DELETE", "/v1/me", {"password": password}))
    except ApiError as error:
        # The second try: the first one erased the account, and its response was lost.
        if error.status != 401 or error.code == BAD_CREDENTIALS:
            raise
    _forget_tokens(session)


def api_keys(session: Session) -> Flow[tuple[ApiKey, ...]]:
    return (yield from all_pages(session, _API_KEYS, Page[ApiKey]))


def add_api_key(session: Session, name: str) -> Flow[ApiKey]:
    # Not repeatable: a second key would be made, and nobody would know its secret.
    reply = yield from authorized(session, json_request("POST", _API_KEYS, {"name": name}))
    return decode(ApiKey, reply.content)


def delete_api_key(session: Session, key: ApiKey | str) -> Flow[None]:
    yield from delete_once(session, f"{_API_KEYS}/{path_segment(key)}")


def ledger(session: Session) -> Flow[Ledger]:
    reply = yield from authorized(session, Request("GET", "/v1/admin/ledger"))
    return decode(Ledger, reply.content)


def _forget_tokens(session: Session) -> None:
    session.store.account_id = None
    session.store.change(None)
