"""`--timeout`: a command that asks a service ends in time, whatever the service does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.cli.time_limit import TimeIsOver, time_limit
from tests.support.clients.cli_command_tree import ROOT_COMMAND, command_contexts
from tests.support.clients.cli_run import Run
from tests.support.clients.documented_service import DocumentedService
from tests.support.clients.fake_messages import ApiRequest, ApiResponse
from tests.support.servers.reserved_ports import reserved_port

WITHOUT_A_SERVICE = {"completion", "ops", "samples", "up"}
WITHOUT_AN_END = {"watch"}
"""Runs until Ctrl-C, or until nothing comes: --idle."""
FREE = threading.Event()
HANGS_SECONDS = 60.0


class HangingService(DocumentedService):
    """It answers no request until `FREE` is set."""

    def respond(self, request: ApiRequest) -> ApiResponse:
        FREE.wait(HANGS_SECONDS)
        return super().respond(request)


@pytest.fixture
def service() -> Iterator[HangingService]:
    FREE.clear()
    yield HangingService()
    FREE.set()


@pytest.fixture
def freed(url: str) -> Iterator[None]:
    """The server of the test ends when its requests have ended."""
    yield
    FREE.set()


def test_every_command_that_asks_a_service_has_a_time_limit() -> None:
    without = set()
    for context in command_contexts(ROOT_COMMAND, "fotograma"):
        words = context.command_path.split()[1:]
        if not words or hasattr(context.command, "list_commands") or words[0] in WITHOUT_A_SERVICE | WITHOUT_AN_END:
            continue
        if not any("--timeout" in parameter.opts for parameter in context.command.params):
            without.add(context.command_path)
    assert without == set()


@pytest.mark.usefixtures("freed")
@pytest.mark.parametrize("command", ["list", "whoami", "cancel 1d8e4a10", "keys list", "webhooks list"])
def test_service_that_does_not_answer_is_left_in_time(run: Run, command: str) -> None:
    started_at = time.monotonic()
    done = run(*command.split(), "--timeout", "0.4")
    assert time.monotonic() - started_at < HANGS_SECONDS / 2
    assert (done.code, done.out) == (75, "")
    assert "Error: It was not finished after 0.4 s. Give it a longer --timeout." in done.err


def test_service_that_is_away_is_unreachable_when_the_time_is_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # The reason is known before the time is over, on a busy machine as well.
    monkeypatch.setenv("FOTOGRAMA_URL", f"http://127.0.0.1:{reserved_port()}")
    started_at = time.monotonic()
    done = run("list", "--timeout", "1.5")
    assert time.monotonic() - started_at < 30
    assert done.code == 69
    assert "It is tried for 1.5 s" in done.err


def test_timer_and_handler_are_as_before_after_the_block() -> None:
    handler: Callable[..., Any] | int | None = signal.getsignal(signal.SIGALRM)
    with time_limit(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    with pytest.raises(TimeIsOver), time_limit(0.2):
        threading.Event().wait(30)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == handler
