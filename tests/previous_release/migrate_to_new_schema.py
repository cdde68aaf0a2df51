"""A plugin of pytest for the tests of the previous release: their databases get the schema of the folder that
FOTOGRAMA_NEW_SCHEMA names, by its own code in its own environment.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from db import migrate

NEW = Path(os.environ["FOTOGRAMA_NEW_SCHEMA"])
PROGRAM = "import sys; from db.migrate import upgrade; upgrade(sys.argv[1])"


def upgrade(url: str) -> None:
    """In place of the release's own migrations."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([NEW / ".venv/bin/python", "-c", PROGRAM, url], cwd=NEW, env=environment, check=True)


def pytest_configure() -> None:
    migrate.upgrade = upgrade
