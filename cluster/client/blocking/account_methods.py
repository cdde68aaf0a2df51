"""The methods of `Client` for the account, its sessions, its API keys and its presets."""

from __future__ import annotations

from pathlib import Path

from cluster.client.account_types import Account, ApiKey, Ledger, NotifyChoice, Preset
from cluster.client.api_types import Tokens
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.calls import account_calls, preset_calls
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.resumable_download import OnReceived


class AccountMethods(BlockingFlowRunner):
    def register(self, email: str, password: str, *, name: str | None = None, locale: str | None = None) -> Account:
        """Creates an account. It is not logged in afterwards.

        >>> client.register("ana@example.org", "right password", locale="pt-BR").role
        'user'
        """
        return self._call(account_calls.register(self._session, email, password, name, locale))

    def login(self, email: str, password: str) -> Tokens:
        """Starts a session, which later calls use. It does not change the command line's log-in.

        >>> client.login("ana@example.org", "right password") == client.tokens
        True
        """
        return self._call(account_calls.login(self._session, email, password))

    def refresh(self) -> Tokens | None:
        """Renews the tokens. The other calls renew an expired access token themselves.

        >>> client.refresh() == client.tokens
        True
        """
        return self._call(account_calls.refresh(self._session))

    def logout(self) -> None:
        """Ends the session on the server and deletes the tokens.

        >>> client.logout()
        >>> client.tokens is None
        True
        """
        self._call(account_calls.logout(self._session))

    def me(self) -> Account:
        """Returns the account that the token belongs to, with its quotas and use.

        >>> client.me().use.videos
        1
        """
        return self._call(account_calls.me(self._session))

    def update_account(
        self, *, name: str | None = None, locale: str | None = None, notify: NotifyChoice | None = None
    ) -> Account:
        """Changes what is given of the account. notify: which ends are told by e-mail.

        >>> client.update_account(notify="failures").notify
        'failures'
        """
        return self._call(account_calls.update_account(self._session, name, locale, notify))

    def change_password(self, current: str, new: str) -> None:
        """Changes the password. Every other session ends. Raises NotAuthenticated for a wrong current password.

        >>> client.change_password("right password", "a longer password")
        """
        self._call(account_calls.change_password(self._session, current, new))

    def export_account(self, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """Writes all that is stored about the account to the zip file `path`, whole or not at all.

        Its size is not known before. After a broken connection it begins anew.

            >>> client.export_account(folder / "my data.zip").name
            'my data.zip'
        """
        return self._call(account_calls.export_account(self._session, path, on_received))

    def delete_account(self, password: str) -> None:
        """Erases the account with all videos and results, and forgets the tokens. This can't be undone.

        Raises NotAuthenticated with the code `bad_credentials` for a wrong password.

            >>> client.delete_account("right password")
        """
        self._call(account_calls.delete_account(self._session, password))

    def api_keys(self) -> tuple[ApiKey, ...]:
        """Returns the account's API keys, newest first, without their secrets.

        >>> [key.name for key in client.api_keys()]
        ['a notebook']
        """
        return self._call(account_calls.api_keys(self._session))

    def add_api_key(self, name: str) -> ApiKey:
        """Makes an API key for scripts. Only this response has its secret.

        >>> key = client.add_api_key("nightly job")
        >>> Client("http://127.0.0.1:8000", key.secret).url
        'http://127.0.0.1:8000'
        """
        return self._call(account_calls.add_api_key(self._session, name))

    def delete_api_key(self, key: ApiKey | str) -> None:
        """Deletes an API key. Requests with it are refused from then on.

        >>> client.delete_api_key(client.api_keys()[0])
        """
        self._call(account_calls.delete_api_key(self._session, key))

    def presets(self) -> tuple[Preset, ...]:
        """Returns the account's presets, by name. The spec of one is a specification for any call.

        >>> [preset.name for preset in client.presets()]
        ['slides']
        """
        return self._call(preset_calls.presets(self._session))

    def save_preset(self, name: str, spec: Spec) -> Preset:
        """Saves a specification under a name, or replaces the one of this name. Raises BadRequest, InvalidSpec.

        >>> client.save_preset("slides", ExtractionSpec(sample={"mode": "keyframes"})).name
        'slides'
        """
        return self._call(preset_calls.save_preset(self._session, name, spec_text(spec)))

    def delete_preset(self, preset: Preset | str) -> None:
        """Deletes a preset, by its name. Raises NotFound.

        >>> client.delete_preset("slides")
        """
        self._call(preset_calls.delete_preset(self._session, preset))

    def ledger(self) -> Ledger:
        """Compares every acceptance with its extraction. Raises NotFound unless the account is an admin.

        >>> client.ledger().balanced
        True
        """
        return self._call(account_calls.ledger(self._session))
