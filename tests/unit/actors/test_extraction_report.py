"""report.json names the versions of the libraries. Their lookup does not delay the start of a child."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from actors.engine.extraction_report import library_versions


def test_report_names_the_installed_versions() -> None:
    assert library_versions() == {name: version(name) for name in ("av", "decord2", "numpy", "simplejpeg")}


def test_child_imports_neither_decord_nor_importlib_metadata() -> None:
    code = (
        "import sys; from actors.sandbox import run_child_job; from actors.engine import extraction_report as report; "
        "report.library_versions(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"decord", "importlib.metadata"} & set(done.stdout.split())
