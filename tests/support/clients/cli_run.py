"""Commands of the command line in the process of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from cluster.cli.app import main


class Done(NamedTuple):
    """code: of the exit. out, err: what was printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def command_runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Returns a function that runs the command of these words."""

    def run(*arguments: str) -> Done:
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return run
