"""`docs/reference/cli.md`: every command with its arguments, options and example, as the program itself has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from cluster.cli.app import app
from docsite.markdown import code, code_block, page, plain, table

_INTRO = """# Commands

What `fotograma COMMAND --help` shows, of every command. [Command line](../clients.md#command-line) says how they work
together, and what their exit codes mean.
"""


def cli_page() -> str:
    """The whole document, in Markdown."""
    command = get_command(app)
    contexts = list(_contexts(command, "fotograma"))
    index = [(f"[`{_title(each)}`](#{_title(each).replace(' ', '-')})", _first_line(each)) for each in contexts]
    return page(_INTRO, table(("command", "what it does"), index), *map(_section, contexts))


def _contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """The contexts of the commands that do something, in alphabetical order."""
    context = command.context_class(command, info_name=name, parent=parent)
    if not hasattr(command, "list_commands"):
        yield context
        return
    for subcommand in sorted(command.list_commands(context)):
        yield from _contexts(command.get_command(context, subcommand), subcommand, context)


def _title(context: Any) -> str:
    return str(context.command_path).removeprefix("fotograma ")


def _first_line(context: Any) -> str:
    return plain(str(context.command.help).partition("\n")[0])


def _section(context: Any) -> str:
    command = context.command
    records = [(parameter.param_type_name, parameter.get_help_record(context)) for parameter in command.params]
    rows = {
        kind: [(code(name), plain(text)) for found, (name, text) in records if found == kind]
        for kind in ("argument", "option")
    }
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    return page(
        f"## {_title(context)}",
        plain(str(command.help).strip()),
        code_block(usage),
        table(("argument", "meaning"), rows["argument"]),
        table(("option", "meaning"), rows["option"]),
        code_block(_example(command.epilog), "sh"),
    )


def _example(epilog: str) -> str:
    """The line below `Example:`."""
    found = re.search(r"Example:\n  (.+)", epilog)
    assert found is not None, epilog
    return found[1]
