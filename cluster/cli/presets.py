"""The named specifications of this user, in a file beside the log-in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from cluster.client.errors import FotogramaError
from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DamagedPresets(FotogramaError):
    """The file of the presets is not JSON."""


class PresetsFile:
    """`{"presets": {name: JSON text}}`. Text, because a JSON number of the file would lose digits."""

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
        if not _NAME.fullmatch(name):
            detail = f"{name!r} is no name for a preset: letters, digits, dots, - and _, 64 at most."
            raise typer.BadParameter(detail, param_hint="NAME")
        with self._file.locked():
            self._file.write({"presets": {**self.read(), name: text}})

    def delete(self, name: str) -> None:
        """Raises DamagedPresets, typer.BadParameter."""
        with self._file.locked():
            presets = self.read()
            require_preset(presets, name, "NAME")
            self._file.write({"presets": {other: text for other, text in presets.items() if other != name}})


def require_preset(presets: Mapping[str, str], name: str, option: str) -> str:
    """Returns the text of a preset. Raises typer.BadParameter, which tells the names that there are."""
    if name not in presets:
        names = f"There are: {', '.join(presets)}." if presets else "Save one with: fotograma presets save NAME"
        raise typer.BadParameter(f"there is no preset {name!r}. {names}", param_hint=option)
    return presets[name]


def preset_document(name: str) -> dict[str, Any]:
    """Returns a preset as an object with exact numbers. Raises DamagedPresets, typer.BadParameter."""
    text = require_preset(PresetsFile(os.environ).read(), name, "--preset")
    document: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return document
