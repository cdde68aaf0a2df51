"""Installs a copy of the PostgreSQL wheel in another folder."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from cluster.local.servers.postgres_programs import INSTALLATION, LIBRARIES, WHEEL, wheel_programs
from tests.support.hard_link_tree import make_hard_link_tree


def link_postgres_wheel(packages: Path) -> None:
    """Installs a copy in this folder. Python uses the copy when the folder comes first on its path."""
    package, installed = wheel_programs().parents[1], distribution(WHEEL)
    information = Path(str(installed.locate_file(""))) / f"{WHEEL}-{installed.version}.dist-info"
    for source in (package, package.with_name(LIBRARIES), information):
        make_hard_link_tree(source, packages / source.name, ignore=_unused)


def _unused(_folder: str, names: list[str]) -> list[str]:
    """Names of what no program reads: PostgreSQL's headers, and its other versions."""
    return [name for name in names if name == "include" or (name.startswith("pginstall") and name != INSTALLATION)]
