"""The methods of `AsyncClient` for the account, its sessions, its API keys and its presets."""

from __future__ import annotations

from pathlib import Path

from cluster.client.account_types import Account, ApiKey, Ledger, NotifyChoice, Preset
from cluster.client.api_types import Tokens
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.calls import account_calls, preset_calls
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.resumable_download import OnReceived


class AsyncAccountMethods(AsyncFlowRunner):
    async def register(
        self, email: str, password: str, *, name: str | None = None, locale: str | None = None
    ) -> Account:
        """As `Client.register`."""
        return await self._call(account_calls.register(self._session, email, password, name, locale))

    async def login(self, email: str, password: str) -> Tokens:
        """As `Client.login`."""
        return await self._call(account_calls.login(self._session, email, password))

    async def refresh(self) -> Tokens | None:
        """As `Client.refresh`."""
        return await self._call(account_calls.refresh(self._session))

    async def logout(self) -> None:
        """As `Client.logout`."""
        await self._call(account_calls.logout(self._session))

    async def me(self) -> Account:
        """As `Client.me`."""
        return await self._call(account_calls.me(self._session))

    async def update_account(
        self, *, name: str | None = None, locale: str | None = None, notify: NotifyChoice | None = None
    ) -> Account:
        """As `Client.update_account`."""
        return await self._call(account_calls.update_account(self._session, name, locale, notify))

    async def change_password(self, current: str, new: str) -> None:
        """As `Client.change_password`."""
        await self._call(account_calls.change_password(self._session, current, new))

    async def export_account(self, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """As `Client.export_account`."""
        return await self._call(account_calls.export_account(self._session, path, on_received))

    async def delete_account(self, password: str) -> None:
        """As `Client.delete_account`."""
        await self._call(account_calls.delete_account(self._session, password))

    async def api_keys(self) -> tuple[ApiKey, ...]:
        """As `Client.api_keys`."""
        return await self._call(account_calls.api_keys(self._session))

    async def add_api_key(self, name: str) -> ApiKey:
        """As `Client.add_api_key`."""
        return await self._call(account_calls.add_api_key(self._session, name))

    async def delete_api_key(self, key: ApiKey | str) -> None:
        """As `Client.delete_api_key`."""
        await self._call(account_calls.delete_api_key(self._session, key))

    async def presets(self) -> tuple[Preset, ...]:
        """As `Client.presets`."""
        return await self._call(preset_calls.presets(self._session))

    async def save_preset(self, name: str, spec: Spec) -> Preset:
        """As `Client.save_preset`."""
        return await self._call(preset_calls.save_preset(self._session, name, spec_text(spec)))

    async def delete_preset(self, preset: Preset | str) -> None:
        """As `Client.delete_preset`."""
        await self._call(preset_calls.delete_preset(self._session, preset))

    async def ledger(self) -> Ledger:
        """As `Client.ledger`."""
        return await self._call(account_calls.ledger(self._session))
