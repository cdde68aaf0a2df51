"""Runs the modules of `tests.support.programs` in processes of their own."""

from __future__ import annotations

import sys
from types import ModuleType


def command_of(program: ModuleType, *arguments: object) -> list[str]:
    return [sys.executable, "-m", program.__name__, *map(str, arguments)]
