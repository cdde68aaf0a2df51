"""The named specifications: of the account, or of this machine, in a file beside the log-in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import typer

from cluster.client.errors import FotogramaError, NotFound
from cluster.client.extraction_spec import spec_text
from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile
from db.values.error_catalogue import CatalogueError
from db.values.preset_name import check_preset_name


class DamagedPresets(FotogramaError):
    """The file of the presets is not JSON."""


class Presets(Protocol):
    """Specifications as JSON text, by name. save_command: how a user adds one."""

    save_command: str

    def read(self) -> dict[str, str]:
        """Returns the texts by name, in the order of the names."""

    def save(self, name: str, text: str) -> None:
        """Adds or replaces a preset. Raises typer.BadParameter for a wrong name."""

    def delete(self, name: str) -> None:
        """Raises typer.BadParameter when there is none of this name."""


def open_presets(*, local: bool, timeout: float | None = None) -> Presets:
    """local: those of this machine; otherwise those of the account."""
    return PresetsFile(os.environ) if local else AccountPresets(timeout)


class AccountPresets:
    """The presets on the server. Each method raises NotLoggedIn and what the client raises."""

    save_command = "fotograma presets save NAME"

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout

    def read(self) -> dict[str, str]:
        from cluster.cli.service_client import open_client  # noqa: PLC0415

        with open_client(self._timeout) as client:
            return {preset.name: spec_text(preset.spec) for preset in client.presets()}

    def save(self, name: str, text: str) -> None:
        from cluster.cli.service_client import open_client  # noqa: PLC0415

        checked = _checked_name(name)
        with open_client(self._timeout) as client:
            client.save_preset(checked, text)

    def delete(self, name: str) -> None:
        from cluster.cli.service_client import open_client  # noqa: PLC0415

        checked = _checked_name(name)
        try:
            with open_client(self._timeout) as client:
                client.delete_preset(checked)
        except NotFound:
            require_preset(self, name, "NAME")


class PresetsFile:
    """`{"presets": {name: JSON text}}`. Text, because a JSON number of the file would lose digits."""

    save_command = "fotograma presets save NAME --local"

    def __init__(self, environ: Mapping[str, str]) -> None:
        configured = environ.get("XDG_CONFIG_HOME")
        folder = Path(configured) if configured else Path.home() / ".config"
        self.path = folder / "fotograma" / "presets.json"
        self._file = PrivateJsonFile(self.path)

    def read(self) -> dict[str, str]:
        """Returns the texts by name, in the order of the names. Raises DamagedPresets."""
        try:
            presets = self._file.read().get("presets")
        except DamagedFile as error:
            raise DamagedPresets(f"{self.path} is damaged. Correct it, or remove it and save the presets again.") from (
                error
            )
        known = presets if isinstance(presets, dict) else {}
        return {name: text for name, text in sorted(known.items()) if isinstance(text, str)}

    def save(self, name: str, text: str) -> None:
        """Adds or replaces a preset. Raises DamagedPresets, typer.BadParameter."""
        checked = _checked_name(name)
        with self._file.locked():
            self._file.write({"presets": {**self.read(), checked: text}})

    def delete(self, name: str) -> None:
        """Raises DamagedPresets, typer.BadParameter."""
        with self._file.locked():
            require_preset(self, name, "NAME")
            presets = self.read()
            self._file.write({"presets": {other: text for other, text in presets.items() if other != name}})


def require_preset(presets: Presets, name: str, option: str) -> str:
    """Returns the text of a preset. Raises typer.BadParameter, which tells the names that there are."""
    known = presets.read()
    if name not in known:
        names = f"There are: {', '.join(known)}." if known else f"Save one with: {presets.save_command}"
        raise typer.BadParameter(f"there is no preset {name!r}. {names}", param_hint=option)
    return known[name]


def preset_document(presets: Presets, name: str) -> dict[str, Any]:
    """Returns a preset as an object with exact numbers. Raises typer.BadParameter."""
    text = require_preset(presets, name, "--preset")
    document: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return document


def _checked_name(name: str) -> str:
    try:
        return check_preset_name(name)
    except CatalogueError as error:
        raise typer.BadParameter(error.detail.removeprefix("name: "), param_hint="NAME") from error
