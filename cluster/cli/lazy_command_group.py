"""The group of all commands. It imports the module of a command only when that command is called.

So `fotograma --help` and each command start fast, however many commands there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """Where a command is, in `cluster.cli.commands`, and the first sentence of its description.

    group: the name of a variable with a Typer that has subcommands; None for one command among those of `commands`.
    """

    module: str
    help: str
    group: str | None = None


ENTRIES = {
    "login": Entry("sessions", "Log in to a service."),
    "logout": Entry("sessions", "End the session and delete its tokens."),
    "whoami": Entry("sessions", "Show the account that you are logged in with, and the service."),
    "extract": Entry("extract", "Extract frames of videos into DIR/<file stem>.zip."),
    "watch": Entry("watch", "Extract each video that comes into a folder, as soon as it is complete."),
    "list": Entry("videos", "Show your videos, newest first."),
    "open": Entry("videos", "Open the page of the service, or of a video, in the browser."),
    "download": Entry("videos", "Fetch results into DIR."),
    "again": Entry("extractions", "Extract from stored videos again, without an upload."),
    "retry": Entry("extractions", "Try failed or cancelled extractions again, with the same specification."),
    "cancel": Entry("extractions", "Cancel extractions that wait or run."),
    "delete": Entry("videos", "Delete videos with all their extractions and results."),
    "timeline": Entry("operations", "Show what happened to an extraction."),
    "logs": Entry("logs", "Show the log of an extraction: each event with its time, attempt and reason."),
    "presets": Entry("presets", "Save specifications under names, for `--preset NAME`.", "presets"),
    "keys": Entry("keys", "Manage API keys: scripts use them in place of a log-in.", "keys"),
    "webhooks": Entry("webhooks", "Manage webhooks: URLs that get a message when an extraction ends.", "webhooks"),
    "account": Entry("account", "Take all data of your account with you, or erase the account.", "account"),
    "up": Entry("up", "Run the whole service on this machine until Ctrl-C."),
    "samples": Entry("up", "Write three sample clips of a clock."),
    "ledger": Entry("operations", "Compare every accepted extraction with its outcome."),
    "ops": Entry("operations", "Commands for the operator of a service.", "ops"),
    "completion": Entry("completion", "Print a script that completes commands and options in a shell."),
}
"""In the order of the help text."""


class LazyCommandGroup(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in ENTRIES.items()}
        self._loaded: dict[str, TyperCommand | TyperGroup] = {}
        self._is_listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command, or one with only its description while all are listed."""
        if self._is_listing or cmd_name not in ENTRIES:
            return self.commands.get(cmd_name)
        if cmd_name not in self._loaded:
            self._loaded[cmd_name] = _load(cmd_name, ENTRIES[cmd_name])
        return self._loaded[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with self._listing():
            super().format_commands(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _listing(self) -> Iterator[None]:
        self._is_listing = True
        try:
            yield
        finally:
            self._is_listing = False


def _load(name: str, entry: Entry) -> Any:
    from typer.main import get_group_from_info  # noqa: PLC0415
    from typer.models import TyperInfo  # noqa: PLC0415

    module = import_module(f"cluster.cli.commands.{entry.module}")
    group = get_group_from_info(
        TyperInfo(getattr(module, entry.group or "commands")),
        pretty_exceptions_short=True,
        rich_markup_mode=None,
        suggest_commands=True,
    )
    return group.commands[name] if entry.group is None else group
