"""Accounts and their sessions (families of refresh tokens)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.values.error_catalogue import CatalogueError

ADMIN = "admin"
"""The role of accounts that may read and change those of others."""


@dataclass(frozen=True, slots=True)
class Account:
    id: UUID
    email: str
    name: str
    locale: str
    notify: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a log-in is checked against."""

    user_id: UUID
    password_hash: str
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: an account, authenticated by one of its sessions or of its API keys.

    credential_id: the id of the session or the API key. expires_at: when the caller must authenticate again; None for
    an API key.
    """

    user_id: UUID
    credential_id: UUID
    email: str
    role: str
    expires_at: datetime | None

    def require_session(self) -> UUID:
        """Returns the id of the session. Raises CatalogueError `session_required` for an API key."""
        if self.expires_at is None:
            raise CatalogueError("session_required")
        return self.credential_id


_ACCOUNT = "id, email, name, locale, notify, role, created_at, disabled_at"

CREATE = text(f"""
    INSERT INTO users (id, email, password_hash, name, locale)
    VALUES (:id, :email, :password_hash, :name, :locale) RETURNING {_ACCOUNT}
""")
GET = text(f"SELECT {_ACCOUNT} FROM users WHERE id = :id AND erased_at IS NULL")
GET_FOR_CHANGE = text(f"{GET.text} FOR NO KEY UPDATE")
GET_BY_EMAIL = text(f"SELECT {_ACCOUNT} FROM users WHERE email = :email AND erased_at IS NULL")
EXIST = text("SELECT EXISTS (SELECT FROM users WHERE erased_at IS NULL)")
CREDENTIALS = text("""
    SELECT id AS user_id, password_hash, disabled_at IS NOT NULL AS is_disabled FROM users WHERE email = :email
""")
PASSWORD = text("SELECT password_hash FROM users WHERE id = :id AND erased_at IS NULL")
UPDATE = text(f"""
    UPDATE users SET name = coalesce(:name, name), locale = coalesce(:locale, locale),
        notify = coalesce(:notify, notify)
    WHERE id = :id AND erased_at IS NULL RETURNING {_ACCOUNT}
""")
LIST = text(f"""
    SELECT {_ACCOUNT} FROM users
    WHERE erased_at IS NULL AND (CAST(:before AS uuid) IS NULL OR id < :before)
      AND (CAST(:words AS text) IS NULL OR strpos(lower(email), lower(:words)) > 0
          OR strpos(lower(name), lower(:words)) > 0)
    ORDER BY id DESC LIMIT :limit
""")
# Since when it is disabled does not change when it is disabled again.
SET_DISABLED = text("""
    UPDATE users SET disabled_at = CASE WHEN :disabled THEN coalesce(disabled_at, clock_timestamp()) END
    WHERE id = :id AND erased_at IS NULL
""")
SET_ROLE = text(f"UPDATE users SET role = :role WHERE email = :email RETURNING {_ACCOUNT}")
SET_PASSWORD = text("UPDATE users SET password_hash = :password_hash WHERE id = :id AND erased_at IS NULL")
REVOKE_OTHERS = text("""
    UPDATE sessions SET revoked_at = now() WHERE user_id = :id AND id <> :kept AND revoked_at IS NULL
""")
OPEN_SESSION = text("""
    INSERT INTO sessions (id, user_id, expires_at) VALUES (:id, :user_id, now() + make_interval(secs => :seconds))
""")
_LIVE = "revoked_at IS NULL AND expires_at > now()"
# What every use of a session or an API key tests of its account: neither an erased nor a disabled one can do anything.
ADMITTED = "users.erased_at IS NULL AND users.disabled_at IS NULL"
PRINCIPAL = text(f"""
    SELECT users.id AS user_id, sessions.id AS session_id, users.email, users.role, sessions.expires_at
    FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.id = :session_id AND {_LIVE} AND {ADMITTED}
""")
LIVE_CREDENTIALS = text(f"""
    SELECT sessions.id FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.id = ANY(:ids) AND {_LIVE} AND {ADMITTED}
    UNION ALL
    SELECT api_keys.id FROM api_keys JOIN users ON users.id = api_keys.user_id
    WHERE api_keys.id = ANY(:ids) AND {ADMITTED}
""")
ROTATE = text(f"""
    UPDATE sessions SET generation = generation + 1
    WHERE id = :session_id AND generation = :generation AND {_LIVE}
      AND EXISTS (SELECT FROM users WHERE users.id = sessions.user_id AND {ADMITTED})
    RETURNING user_id
""")
REVOKE_REUSED = text(f"""
    UPDATE sessions SET revoked_at = now()
    WHERE id = :session_id AND generation > :generation AND {_LIVE} RETURNING id
""")
REVOKE = text("UPDATE sessions SET revoked_at = now() WHERE id = :session_id AND revoked_at IS NULL")
DELETE_EXPIRED_SESSIONS = text("DELETE FROM sessions WHERE expires_at < now() - interval '1 day'")


async def create(
    database: AsyncEngine, *, user_id: UUID, email: str, password_hash: str, name: str, locale: str
) -> Account:
    """Creates an account. Raises CatalogueError `email_taken`."""
    values = {"id": user_id, "email": email, "password_hash": password_hash, "name": name, "locale": locale}
    try:
        async with database.begin() as connection:
            return _account((await connection.execute(CREATE, values)).one())
    except IntegrityError as error:
        raise CatalogueError("email_taken") from error


async def get(database: AsyncEngine, user_id: UUID) -> Account | None:
    async with database.connect() as connection:
        row = (await connection.execute(GET, {"id": user_id})).first()
    return None if row is None else _account(row)


async def get_by_email(database: AsyncEngine, email: str) -> Account | None:
    """email: in its normal form."""
    async with database.connect() as connection:
        row = (await connection.execute(GET_BY_EMAIL, {"email": email})).first()
    return None if row is None else _account(row)


async def exist(database: AsyncEngine) -> bool:
    """Whether there is any account."""
    async with database.connect() as connection:
        return bool((await connection.execute(EXIST)).scalar())


async def credentials(database: AsyncEngine, email: str) -> Credentials | None:
    async with database.connect() as connection:
        row = (await connection.execute(CREDENTIALS, {"email": email})).first()
    return None if row is None else Credentials(row.user_id, row.password_hash, row.is_disabled)


async def password_hash(database: AsyncEngine, user_id: UUID) -> str | None:
    async with database.connect() as connection:
        return (await connection.execute(PASSWORD, {"id": user_id})).scalar()


async def update(
    database: AsyncEngine,
    user_id: UUID,
    changes: Mapping[str, str | None],
    may_change: Callable[[Account], bool] = lambda _: True,
) -> Account | None:
    """changes: any of name, locale, notify; None leaves a field as it is. may_change: decides by the account as it is.

    None when there is no such account. Raises CatalogueError `precondition_failed`.
    """
    values = {"id": user_id, "name": None, "locale": None, "notify": None} | dict(changes)
    async with database.begin() as connection:
        found = (await connection.execute(GET_FOR_CHANGE, {"id": user_id})).first()
        if found is not None and not may_change(_account(found)):
            raise CatalogueError("precondition_failed")
        row = (await connection.execute(UPDATE, values)).first()
    return None if row is None else _account(row)


async def set_role(database: AsyncEngine, email: str, role: str) -> Account | None:
    """Gives the account a role, `user` or `admin`, from its next request on. None when there is no such account."""
    async with database.begin() as connection:
        row = (await connection.execute(SET_ROLE, {"email": email, "role": role})).first()
    return None if row is None else _account(row)


async def list_accounts(
    database: AsyncEngine, *, limit: int, before: UUID | None = None, words: str | None = None
) -> list[Account]:
    """Returns accounts, the newest first. words: what the e-mail or the name contains. before: the last id of the
    previous page.
    """
    async with database.connect() as connection:
        rows = await connection.execute(LIST, {"limit": limit, "before": before, "words": words})
        return [_account(row) for row in rows]


async def lock(connection: AsyncConnection, user_id: UUID) -> bool:
    """Keeps the account as it is until the caller's transaction ends. False when there is no such account."""
    return (await connection.execute(GET_FOR_CHANGE, {"id": user_id})).first() is not None


async def set_disabled(connection: AsyncConnection, user_id: UUID, *, disabled: bool) -> None:
    """Keeps an account out from its next request on, or lets it in again. The caller commits."""
    await connection.execute(SET_DISABLED, {"id": user_id, "disabled": disabled})


async def set_password(database: AsyncEngine, user_id: UUID, password_hash: str, *, kept: UUID) -> None:
    """Changes the password and ends every session but `kept`."""
    async with database.begin() as connection:
        await connection.execute(SET_PASSWORD, {"id": user_id, "password_hash": password_hash})
        await connection.execute(REVOKE_OTHERS, {"id": user_id, "kept": kept})


async def open_session(database: AsyncEngine, *, session_id: UUID, user_id: UUID, seconds: float) -> None:
    """Starts a family of refresh tokens at generation 0. The family expires after `seconds`."""
    async with database.begin() as connection:
        await connection.execute(OPEN_SESSION, {"id": session_id, "user_id": user_id, "seconds": seconds})


async def principal(database: AsyncEngine, session_id: UUID) -> Principal | None:
    """Returns the account of a session. None when the session is revoked, expired or unknown."""
    async with database.connect() as connection:
        row = (await connection.execute(PRINCIPAL, {"session_id": session_id})).first()
    return None if row is None else _principal(row)


async def live_credentials(database: AsyncEngine, ids: Collection[UUID]) -> set[UUID]:
    """Returns those of the sessions and API keys that are neither revoked nor expired nor deleted."""
    async with database.connect() as connection:
        return set((await connection.execute(LIVE_CREDENTIALS, {"ids": list(ids)})).scalars())


async def rotate(database: AsyncEngine, session_id: UUID, generation: int) -> int:
    """Marks the refresh token of `generation` as used; returns the next generation.

    Raises CatalogueError `refresh_token_reused` and revokes the family when that token was used before,
    `unauthenticated` when the session is over.
    """
    values = {"session_id": session_id, "generation": generation}
    async with database.begin() as connection:
        if (await connection.execute(ROTATE, values)).first() is not None:
            return generation + 1
        reused = (await connection.execute(REVOKE_REUSED, values)).first() is not None
    raise CatalogueError("refresh_token_reused" if reused else "unauthenticated")


async def revoke(database: AsyncEngine, session_id: UUID) -> None:
    """Ends a session at once."""
    async with database.begin() as connection:
        await connection.execute(REVOKE, {"session_id": session_id})


def _principal(row: Row[Any]) -> Principal:
    return Principal(row.user_id, row.session_id, row.email, row.role, row.expires_at)


def _account(row: Row[Any]) -> Account:
    return Account(**{name: getattr(row, name) for name in Account.__slots__})


async def delete_expired_sessions(database: AsyncEngine) -> int:
    """Deletes sessions that ended more than a day ago; returns how many."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE_EXPIRED_SESSIONS)).rowcount
